// Layers: the forward and backward pass of the operation CONVOLVE. A layer computes the statistics of its batch norm; the
// operations that read its result apply them.

#pragma once

#include "convolution.hpp"
#include "reading.hpp"
#include "scratch.hpp"

// Maps in scratch memory with an edge of zeros around each.
struct EdgedMaps {
    int height, width, rows, columns;

    int pitch() const { return width + 2 * columns; }
    size_t plane() const { return (size_t)(height + 2 * rows) * pitch(); }
    size_t inner(int map) const { return map * plane() + (size_t)rows * pitch() + columns; }
    // Returns `count` maps filled with zeros; callers must not write to the edges.
    Vec* make(Scratch slot, int count) const {
        Vec* maps = scratch(slot, count * plane());
        if (rows || columns) std::memset((void*)maps, 0, sizeof(Vec) * count * plane());
        return maps;
    }
};

// Returns the shape of the layer's input maps with their padding.
inline EdgedMaps input_maps(const Layer& layer) {
    return {layer.in_height(), layer.in_width(), layer.first().padding, layer.first().padding};
}

// Number of pixels that 1x1 convolutions of separable layers process at a time, so that those of all channels stay in
// the caches near the core. Strips are a little further apart in memory, because strips at a distance of a page would
// compete for the same cache lines.
constexpr int STRIP = 64, STRIP_PITCH = STRIP + 3;

// Depthwise convolutions of a separable layer over maps of a shape.
class Depthwise {
   public:
    // turned: convolve with kernels rotated by 180 degrees, which propagate gradients back.
    Depthwise(const Layer& layer, const EdgedMaps& maps, bool turned)
        : kernel(layer.depthwise),
          turned(turned),
          channels(layer.separable() ? layer.input.channels : 0,
                   Convolution(1, 1, kernel.height, kernel.width, maps.plane(), maps.pitch())) {}

    void pack(const float* weight) {
        for (Convolution& channel : channels) {
            channel.pack([&](int, int, int row, int column) {
                const int tap = row * kernel.width + column;
                return weight[turned ? kernel.taps() - 1 - tap : tap];
            });
            weight += kernel.taps();
        }
    }

    const Convolution& operator[](int channel) const { return channels[channel]; }

   private:
    const Kernel& kernel;
    const bool turned;
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

    const Operation& operation;
    const Layer& layer;
    const EdgedMaps padded, between;
    Depthwise depthwise;
    std::vector<Convolution> groups;
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
    void run_dense(const Source& source, const Results& results, int block, const Vec* in, Vec* gradients, Sums sums,
                   Vec* dx);
    void run_separable(const Source& source, const Results& results, int block, const Vec* in, Vec* gradients,
                       Sums sums, Vec* dx);
    void to_input(const Source& source, const Convolution& turned, const Vec* gradients, int block, int first,
                  int count, Vec* dx);
    size_t n_parameters() const;
    void add_parameters(int chunks);

    const Operation& operation;
    const Layer& layer;
    const EdgedMaps padded, edged;
    Depthwise depthwise, turned_depthwise;
    std::vector<Convolution> turned;
    std::vector<int32_t> first_offsets, strip_offsets;
    std::vector<GradientSums> of_maps;
    std::vector<float> chunk_sums;
};
