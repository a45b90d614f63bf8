// Layers: a convolution of stride 1 with the reading of its input, an optional depthwise convolution before it, and the
// batch norm after it. A layer computes the statistics of the batch norm; the next layer applies them.

#pragma once

#include "convolution.hpp"
#include "reading.hpp"
#include "scratch.hpp"

enum BatchNorm : int32_t { NONE, BATCH, RUNNING };  // normalise by the batch's own statistics or by the running ones

// A kernel and the padding with zeros. Kernel and Layer are mirrored in search/engine/native/kernels.py.
struct Kernel {
    int32_t height, width, padding;

    int taps() const { return height * width; }
    int out_height(int in_height) const { return in_height + 2 * padding - height + 1; }
    int out_width(int in_width) const { return in_width + 2 * padding - width + 1; }
};

struct Layer {
    Reading input;
    int32_t out_channels, groups;
    Kernel depthwise;  // height 0 if there is none; else `kernel` is 1x1, in one group
    Kernel kernel;
    int32_t activation, batch_norm;  // the activation between convolution and batch norm, if there is one
    float slope, epsilon, momentum;

    bool separable() const { return depthwise.height > 0; }
    // Returns the kernel that reads the input.
    const Kernel& first() const { return separable() ? depthwise : kernel; }
    int blocks() const { return input.blocks(); }
    int in_height() const { return input.out_height(); }
    int in_width() const { return input.out_width(); }
    int out_height() const { return first().out_height(in_height()); }
    int out_width() const { return first().out_width(in_width()); }
    int out_pixels() const { return out_height() * out_width(); }
    int in_group() const { return input.channels / groups; }
    int out_group() const { return out_channels / groups; }
    int taps() const { return in_group() * kernel.taps(); }
    size_t out_block() const { return (size_t)out_channels * out_pixels(); }
    // Returns the index of the weight from input channel i of a group to output channel o (of all) at a position of the
    // kernel.
    size_t weight_index(int o, int i, int row, int column) const {
        return (((size_t)o * in_group() + i) * kernel.height + row) * kernel.width + column;
    }
};

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

// Returns the depthwise convolutions of a separable layer over maps with the pitch of `maps`. turned: return those that
// propagate gradients back, with kernels rotated by 180 degrees.
inline std::vector<Convolution> depthwise_convolutions(const Layer& layer, const float* weight, const EdgedMaps& maps,
                                                       bool turned) {
    const Kernel& kernel = layer.depthwise;
    std::vector<Convolution> channels;
    for (int c = 0; c < layer.input.channels; ++c)
        channels.emplace_back(1, 1, kernel.height, kernel.width, maps.plane(), maps.pitch(),
                              [&](int, int, int row, int column) {
                                  const int at = row * kernel.width + column;
                                  return weight[c * kernel.taps() + (turned ? kernel.taps() - 1 - at : at)];
                              });
    return channels;
}
