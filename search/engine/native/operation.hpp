// Description of a network as a program: values, and the operations that compute one value from another.
//
// search/engine/native/structures.py mirrors these structures field by field, and program.py fills them in.

#pragma once

#include "vectors.hpp"

// Activations up to this number have derivatives that are cheap to compute (activations.hpp).
constexpr int32_t CHEAP_ACTIVATIONS = 2;

// Operations that are applied to a value as it is read: batch norm, activation, dropout, pool, in this order.
struct Reading {
    int32_t images, channels, height, width;  // shape of the value
    int32_t norm;                             // whether the value has statistics, gamma and beta
    int32_t activation, pool;                 // pool: side of the windows, which do not overlap; 1 if there are none
    int32_t mean_pool;                        // whether a window becomes its mean and not its maximum
    int32_t average;                          // whether to return only the mean of every map; for READ alone
    float slope, drop;                        // slope of a leaky ReLU; probability that dropout drops a value
    uint64_t seed;                            // seed of dropout

    int blocks() const { return (images + LANES - 1) / LANES; }
    int pixels() const { return height * width; }
    int out_height() const { return height / pool; }
    int out_width() const { return width / pool; }
    int out_pixels() const { return out_height() * out_width(); }
    bool changes_nothing() const { return !norm && !has_slopes(); }
    // Whether the derivative of a read value with respect to the normalised value may differ from 1.
    bool has_slopes() const { return activation != 0 || pool > 1 || drop > 0; }
    // Whether these derivatives are stored when the value is read, because computing them again would take longer.
    bool stores_slopes() const { return activation > CHEAP_ACTIVATIONS || pool > 1 || drop > 0; }
};

enum BatchNorm : int32_t { NONE, BATCH, RUNNING };  // normalise by the batch's own statistics or by the running ones

// A kernel, the padding with zeros and the stride.
struct Kernel {
    int32_t height, width, padding, stride;

    int taps() const { return height * width; }
    int out_height(int in_height) const { return (in_height + 2 * padding - height) / stride + 1; }
    int out_width(int in_width) const { return (in_width + 2 * padding - width) / stride + 1; }
};

// A convolution with the reading of its input, an optional depthwise convolution before it, and the
// statistics of the batch norm after it.
struct Layer {
    Reading input;
    int32_t out_channels, groups;
    int32_t shuffled;  // whether the results alternate between the groups, as ChannelShuffle orders them
    Kernel depthwise;  // height 0 if there is none; else `kernel` is 1x1 with stride 1
    Kernel kernel;
    int32_t activation, batch_norm;  // the activation between convolution and batch norm, if there is one
    float slope, epsilon, momentum;

    bool separable() const { return depthwise.height > 0; }
    // Whether the kernel covers the whole map, so that there is one result for every output channel.
    bool covers() const {
        return !separable() && !kernel.padding && kernel.height == in_height() && kernel.width == in_width();
    }
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
    // Returns the channel of the value that output channel o of a group is written to.
    int result(int group, int o) const { return shuffled ? o * groups + group : group * out_group() + o; }
    // Returns the distance of two output channels of a group there.
    int result_step() const { return shuffled ? groups : 1; }
    int taps() const { return in_group() * kernel.taps(); }
    size_t out_block() const { return (size_t)out_channels * out_pixels(); }
    // Returns the index of the weight from input channel i of a group to output channel o (of all) at a position of the
    // kernel.
    size_t weight_index(int o, int i, int row, int column) const {
        return (((size_t)o * in_group() + i) * kernel.height + row) * kernel.width + column;
    }
};

// A value: maps of all images in blocks, their gradients, and the batch norm that readers apply to them. The pointers
// to the norm are null if there is none, and those to gradients are null in a program that only scores.
struct Value {
    Vec *maps, *gradients;
    float* statistics;          // mean and 1 / standard deviation of every channel
    const float *gamma, *beta;
    float *dstatistics, *dgamma, *dbeta;
};

enum Kind : int32_t { CONVOLVE, READ, SUM, SCALE, GATE };

// Use of the gradient of an input: it is not needed, it is written, or it is added to that of another reader.
enum Gradient : int32_t { NO_GRADIENT, WRITE, ADD };

struct Input {
    int32_t value, gradient, dropout;  // dropout: position of the seed among those of a step, or -1
};

// CONVOLVE  value `output` = layer of the first input
// READ      the first input with all pending operations applied
// SUM       the sum of both inputs, read by layer.input and second_reading
// SCALE     the first layer.out_channels channels of the first input, times the only number of `weight`
// GATE      the first input, every map times its pixel of the second input, which has no norm and no other reader
struct Operation {
    int32_t kind, output;
    Input inputs[2];
    Layer layer;
    Reading second_reading;
    const float *depthwise, *weight, *bias;
    float *running_mean, *running_var;
    Vec* unactivated;  // results before layer.activation, if there is one
    float *ddepthwise, *dweight, *dbias;
};
