// Values as a layer reads them: what the layer before left, normalised, activated, dropped out and pooled on the way in.
//
// These steps cost little arithmetic, and storing what they make costs much memory traffic. So nobody stores it: a layer
// makes it map by map in its thread's scratch memory, in the forward pass and once more in the backward pass.

#pragma once

#include "activations.hpp"

// Mirrored field by field in search/engine/native/kernels.py.
struct Reading {
    int32_t images, channels, height, width;  // of the values
    int32_t norm;                             // whether there are statistics, gamma and beta
    int32_t activation, pool;                 // pool: side of the windows, which lie side by side; 1 if there are none
    int32_t average;                          // whether only the mean of every map is asked for, by read_forward alone
    float slope, drop;                        // of a leaky ReLU; the probability that dropout drops a value
    uint64_t seed;                            // of dropout

    int blocks() const { return (images + LANES - 1) / LANES; }
    int pixels() const { return height * width; }
    int out_height() const { return height / pool; }
    int out_width() const { return width / pool; }
    int out_pixels() const { return out_height() * out_width(); }
    bool changes_nothing() const { return !norm && !has_slopes(); }
    // Whether the derivative of what is read, by the normalised value, may be another than 1.
    bool has_slopes() const { return activation != IDENTITY || pool > 1 || drop > 0; }
};

// Of one map: sums over its gradients, and over their products with the value's distance from the mean.
struct GradientSums {
    float gradients, products;
};

class Source {
   public:
    // statistics: mean and 1 / standard deviation of every channel; null, as gamma and beta, without batch norm.
    Source(const Reading& reading, const float* values, const float* statistics, const float* gamma, const float* beta)
        : reading(reading), values((const Vec*)values), statistics(statistics), gamma(gamma), beta(beta) {}

    // What is read of one map, into rows `pitch` apart. slopes, if not null, gets for every value the derivative of what
    // is read by the normalised value.
    void read(int block, int channel, Vec* to, int pitch, Vec* slopes) const;

    // From dz, the gradient of what was read of one map, that of its values, while mean and deviation are held fixed.
    // `gradient` holds the slopes, if there may be others than 1, and gets the result.
    GradientSums to_values(int block, int channel, const Vec* dz, Vec* gradient) const;

    // The gradients of gamma and beta and of mean and 1 / standard deviation (dstatistics), from those of all maps.
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
