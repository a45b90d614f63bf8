// Layers: the forward and backward pass of the operation CONVOLVE. A layer computes the statistics of its batch norm;
// the operations that read its result apply them.

#pragma once

#include "input_maps.hpp"
#include "winograd_gradients.hpp"

// Number of pixels that 1x1 convolutions of separable layers process at a time, so that those of all channels stay in
// the caches near the core. Strips are a little further apart in memory, because strips at a distance of a page would
// compete for the same cache lines.
constexpr int STRIP = 64, STRIP_PITCH = STRIP + 3;

// Depthwise convolutions of a separable layer.
class Depthwise {
   public:
    explicit Depthwise(const Layer& layer) : kernel(layer.depthwise) {
        const InputMaps maps(layer);
        if (layer.separable())
            channels.assign(layer.input.channels,
                            Convolution(1, 1, kernel.height, kernel.width, maps.offsets(1), maps.pitch()));
    }

    void pack(const float* weight) {
        for (Convolution& channel : channels) {
            channel.pack([&](int, int, int row, int column) { return weight[row * kernel.width + column]; });
            weight += kernel.taps();
        }
    }

    const Convolution& operator[](int channel) const { return channels[channel]; }

   private:
    const Kernel& kernel;
    std::vector<Convolution> channels;
};

// Mean of values and the sum of their squared distances from it.
struct Moments {
    double mean = 0, squares = 0, count = 0;

    // Merges two sets of values as in Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance".
    void add(const Moments& other) {
        const double distance = other.mean - mean, total = count + other.count;
        squares += other.squares + distance * distance * count * other.count / total;
        mean += distance * other.count / total;
        count = total;
    }
};

// Forward pass of a layer. Memory is allocated once, for the number of images of the operation at construction.
class LayerForward {
   public:
    explicit LayerForward(const Operation& operation);
    void run(const Value& input, const Value& output, int threads, OutOfMemory& memory);

   private:
    void pack();
    void run_block(const Source& source, int block, Vec* maps, Vec* y) const;
    void run_separable(const Source& source, int block, Vec* map, Vec* y) const;
    void find_statistics(float* statistics) const;
    const float* bias_of(int group) const {
        return operation.bias ? operation.bias + group * layer.out_group() : nullptr;
    }

    const Operation& operation;
    const Layer& layer;
    const InputMaps padded;
    Depthwise depthwise;
    std::vector<MapConvolution> groups;        // unless the layer is separable
    std::vector<Convolution> pointwise;        // of every group of a separable layer
    std::vector<Moments> moments;
};

class LayerBackward {
   public:
    explicit LayerBackward(const Operation& operation);
    void run(const Value& input, const Value& output, int threads, OutOfMemory& memory);

   private:
    struct Sums;
    class Results;
    void pack();
    void run_block(const Source& source, const Results& results, int block, Vec* maps, Vec* gradients, Sums sums);
    const Vec* read(const Source& source, int block, int channel, Vec* map, Vec* dx) const;
    void run_dense(const Source& source, const Results& results, int block, Vec* maps, Vec* gradients, Sums sums,
                   Vec* dx);
    void run_separable(const Source& source, const Results& results, int block, Vec* map, Vec* gradients, Sums sums,
                       Vec* dx);
    void run_depthwise(const Source& source, const Vec* gradients, int block, int channel, Vec* dx, Vec* sums);
    void to_input(const Source& source, const TurnedConvolution& turned, const Vec* gradients, int block, int first,
                  int count, Vec* dx);
    size_t n_weights() const { return (size_t)layer.out_channels * layer.taps(); }
    size_t n_parameters() const;
    size_t n_sums() const;
    void write_chunk(const Vec* sums, float* of_chunk) const;
    void add_parameters(int chunks);

    const Operation& operation;
    const Layer& layer;
    const InputMaps padded;
    const EdgedMaps edged;
    Depthwise depthwise;
    std::vector<TurnedConvolution> turned;  // of every group, or of every channel of a depthwise convolution
    std::vector<Convolution> turned_strip;  // of every group of the 1x1 convolution of a separable layer
    std::vector<int32_t> first_offsets, strip_offsets;
    std::optional<WinogradGradients> at_points;  // if the gradients of the weights are computed so
    std::vector<GradientSums> of_maps;
    std::vector<float> chunk_sums;
};
