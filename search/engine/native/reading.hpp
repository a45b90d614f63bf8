// Reading of a layer's input: the result of the layer before is normalised, activated, dropped out and pooled.
//
// These steps cost little arithmetic, but storing their results would cost much memory traffic. A layer therefore
// computes them map by map in its thread's scratch memory, in the forward pass and again in the backward pass.

#pragma once

#include "activations.hpp"

// Mirrored field by field in search/engine/native/kernels.py.
struct Reading {
    int32_t images, channels, height, width;  // shape of the values
    int32_t norm;                             // whether there are statistics, gamma and beta
    int32_t activation, pool;                 // pool: side of the windows, which do not overlap; 1 if there are none
    int32_t average;                          // whether to return only the mean of every map; for read_forward alone
    float slope, drop;                        // slope of a leaky ReLU; probability that dropout drops a value
    uint64_t seed;                            // seed of dropout

    int blocks() const { return (images + LANES - 1) / LANES; }
    int pixels() const { return height * width; }
    int out_height() const { return height / pool; }
    int out_width() const { return width / pool; }
    int out_pixels() const { return out_height() * out_width(); }
    bool changes_nothing() const { return !norm && !has_slopes(); }
    // Whether the derivative of a read value with respect to the normalised value may differ from 1.
    bool has_slopes() const { return activation != IDENTITY || pool > 1 || drop > 0; }
};

// Sums over the gradients of one map, and over their products with the distance of the value from the mean.
struct GradientSums {
    float gradients, products;
};

class Source {
   public:
    // statistics: mean and 1 / standard deviation of every channel. All three are null without batch norm.
    Source(const Reading& reading, const float* values, const float* statistics, const float* gamma, const float* beta)
        : reading(reading), values((const Vec*)values), statistics(statistics), gamma(gamma), beta(beta) {}

    // Reads one map into rows `pitch` apart. If slopes is not null, writes to it for every value the derivative of the
    // read value with respect to the normalised value.
    void read(int block, int channel, Vec* to, int pitch, Vec* slopes) const;

    // Computes the gradient of the values of one map from dz, the gradient of the read values, with mean and deviation
    // fixed. `gradient` contains the slopes if any may differ from 1; the result overwrites it.
    GradientSums to_values(int block, int channel, const Vec* dz, Vec* gradient) const;

    // Computes the gradients of gamma, beta, mean and 1 / standard deviation (dstatistics) from the sums of all maps.
    void to_norm(const GradientSums* maps, float* dstatistics, float* dgamma, float* dbeta) const;

    const Vec* map(int block, int channel) const {
        return values + ((size_t)block * reading.channels + channel) * reading.pixels();
    }

    const Reading& reading;

   private:
    float mean(int channel) const { return reading.norm ? statistics[channel] : 0; }
    float inverse(int channel) const { return reading.norm ? statistics[reading.channels + channel] : 1; }
    float scale(int channel) const { return reading.norm ? gamma[channel] * inverse(channel) : 1; }
    float shift(int channel) const { return reading.norm ? beta[channel] - mean(channel) * scale(channel) : 0; }

    const Vec* values;
    const float *statistics, *gamma, *beta;
};
