// Reading of a layer's input: the result of the layer before is normalised, activated, dropped out and pooled.
//
// These steps cost little arithmetic, but storing their results would cost much memory traffic. A layer therefore
// computes them map by map in its thread's scratch memory, in the forward pass and again in the backward pass.

#pragma once

#include "activations.hpp"
#include "operation.hpp"
#include "out_of_memory.hpp"

// Sums over the gradients of one map, and over their products with the distance of the value from the mean.
struct GradientSums {
    float gradients, products;
};

// The same sums, lane by lane.
struct LaneSums {
    Vec gradients{}, products{};

    GradientSums total() const { return {sum_lanes(gradients), sum_lanes(products)}; }
};

class Source {
   public:
    Source(const Reading& reading, const Value& value) : reading(reading), value(value) {}

    // Reads one map into rows `pitch` apart. If slopes is not null, writes to it for every value the derivative of the
    // read value with respect to the normalised value.
    void read(int block, int channel, Vec* to, int pitch, Vec* slopes) const {
        read_rows(block, channel, 0, reading.out_height(), to, pitch, slopes);
    }
    // Reads `count` rows of a map from row `first` on. `slopes` is that of the whole map.
    void read_rows(int block, int channel, int first, int count, Vec* to, int pitch, Vec* slopes) const;

    // Computes the gradient of the values of one map from dz, the gradient of the read values, with mean and deviation
    // fixed. `gradient` contains the slopes if the reading stores them; the result overwrites it.
    GradientSums to_values(int block, int channel, const Vec* dz, Vec* gradient) const {
        LaneSums sums;
        rows_to_values(block, channel, 0, reading.out_height(), dz, gradient, sums);
        return sums.total();
    }
    // Does it for `count` rows of read values from row `first` on, and adds to the sums. dz: the gradient of these rows.
    void rows_to_values(int block, int channel, int first, int count, const Vec* dz, Vec* gradient,
                        LaneSums& sums) const;

    // Adds the gradients of gamma, beta, mean and 1 / standard deviation to those of the value, from the sums of all
    // maps.
    void to_norm(const GradientSums* maps) const;

    const Vec* map(int block, int channel) const { return value.maps + position(block, channel); }
    Vec* gradient(int block, int channel) const { return value.gradients + position(block, channel); }

    const Reading& reading;

    const Value& value;

   private:
    size_t position(int block, int channel) const {
        return ((size_t)block * reading.channels + channel) * reading.pixels();
    }
    float mean(int channel) const { return reading.norm ? value.statistics[channel] : 0; }
    float inverse(int channel) const { return reading.norm ? value.statistics[reading.channels + channel] : 1; }
    float scale(int channel) const { return reading.norm ? value.gamma[channel] * inverse(channel) : 1; }
    float shift(int channel) const { return reading.norm ? value.beta[channel] - mean(channel) * scale(channel) : 0; }
};

// Writes the values that the source reads, or their mean over every map, to z.
void read_forward(const Source& source, Vec* z, int threads, OutOfMemory& memory);

// Computes the gradient of the source's value from dz, the gradient of the reading. add: add it to the present one.
// sums: scratch memory for every map.
void read_backward(const Source& source, const Vec* dz, bool add, GradientSums* sums, int threads,
                   OutOfMemory& memory);
