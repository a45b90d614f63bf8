// A program: the operations of a network with their memory, run forward and backward for one batch at a time.
//
// The memory of the values belongs to the caller (search/engine/native/program.py); other memory of a step is allocated
// once, when the program is made, or kept by the threads (scratch.hpp).

#pragma once

#include <memory>
#include <vector>

#include "layer.hpp"

class Program {
   public:
    // The operations are for the largest batch. n_seeds: number of dropout seeds of a step.
    Program(const Operation* operations, int n_operations, const Value* values, int n_values);

    // Sets the number of images of the batch and the seeds of dropout, which may be null if nothing drops.
    void set_batch(int images, const uint64_t* seeds);
    void forward(int threads, OutOfMemory& memory);
    // Computes all gradients from those of the last value. The caller has set those that are added to, of parameters
    // and statistics, to zero.
    void backward(int threads, OutOfMemory& memory);

    const Value& input() const { return values.front(); }
    // The value of the last operation.
    const Value& output() const { return values[operations.back().output]; }
    int n_outputs() const { return n_last_channels; }
    int images() const { return operations.front().layer.input.images; }

   private:
    const Value& input_of(const Operation& operation, int i) const { return values[operation.inputs[i].value]; }

    std::vector<Operation> operations;
    std::vector<Value> values;
    int n_last_channels;
    std::vector<std::unique_ptr<LayerForward>> forwards;    // of the operations that are layers, else null
    std::vector<std::unique_ptr<LayerBackward>> backwards;  // likewise; null if nothing needs gradients
    std::vector<GradientSums> map_sums;
};

// Writes the sum of the readings of both sources to z.
void sum_forward(const Source& first, const Source& second, Vec* z, int threads, OutOfMemory& memory);

// Writes the first `channels` channels of every block, times a factor, to z. They are maps of one pixel.
void scale_forward(const Source& source, int channels, float factor, Vec* z);

// Computes the gradient of the source's value from dz, and adds that of the factor to dfactor.
void scale_backward(const Source& source, int channels, float factor, const Vec* dz, float* dfactor);

// Writes every map that the source reads, times the pixel of its channel that `gates` reads, to z.
void gate_forward(const Source& source, const Source& gates, Vec* z, int threads, OutOfMemory& memory);

// Computes the gradients of the values of both from dz. use: that of the source's gradient, one of enum Gradient.
// sums: scratch memory for every map.
void gate_backward(const Source& source, const Source& gates, const Vec* dz, int32_t use, GradientSums* sums,
                   int threads, OutOfMemory& memory);
