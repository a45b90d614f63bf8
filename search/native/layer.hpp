// One convolution of stride 1 with the batch norm and the activation that follow it.

#pragma once

#include <type_traits>

#include "activations.hpp"

enum BatchNorm : int32_t { NONE, BATCH, RUNNING };  // normalise by the batch's own statistics or by the running ones

// Mirrored field by field in search/kernels.py.
struct Layer {
    int32_t images, in_channels, out_channels, groups, kernel_height, kernel_width, padding, in_height, in_width;
    int32_t activation, activation_first, batch_norm;
    float slope, epsilon, momentum;

    int blocks() const { return (images + LANES - 1) / LANES; }
    int out_height() const { return in_height + 2 * padding - kernel_height + 1; }
    int out_width() const { return in_width + 2 * padding - kernel_width + 1; }
    int out_pixels() const { return out_height() * out_width(); }
    int padded_height() const { return in_height + 2 * padding; }
    int padded_width() const { return in_width + 2 * padding; }
    int in_group() const { return in_channels / groups; }
    int out_group() const { return out_channels / groups; }
    int taps() const { return in_group() * kernel_height * kernel_width; }
    // In vectors: one map, and all maps of one block of images.
    size_t padded_plane() const { return (size_t)padded_height() * padded_width(); }
    size_t in_block() const { return (size_t)in_channels * in_height * in_width; }
    size_t out_block() const { return (size_t)out_channels * out_pixels(); }
    // Where the weight from input channel i of a group to output channel o (of all) at a place of the kernel is.
    size_t weight_index(int o, int i, int row, int column) const {
        return (((size_t)o * in_group() + i) * kernel_height + row) * kernel_width + column;
    }
};

// Calls f with the layer's activation, and whether it comes first, as compile-time constants.
template <class F>
void with_activation(const Layer& layer, F f) {
    auto with_order = [&](auto activation) {
        if (layer.activation_first)
            f(activation, std::true_type{});
        else
            f(activation, std::false_type{});
    };
    switch (layer.activation) {
        case RELU: return with_order(std::integral_constant<int, RELU>{});
        case LEAKY_RELU: return with_order(std::integral_constant<int, LEAKY_RELU>{});
        case SILU: return with_order(std::integral_constant<int, SILU>{});
        case HARDSWISH: return with_order(std::integral_constant<int, HARDSWISH>{});
        default: return with_order(std::integral_constant<int, IDENTITY>{});
    }
}

// Memory that a thread keeps between calls: `slot` 0 for padded inputs, 1 for padded gradients.
Vec* scratch(int slot, size_t vectors);

// The block's input with its padding around it: `x` itself where there is none, else a copy in scratch memory.
const Vec* padded_input(const Layer& layer, const Vec* x);
