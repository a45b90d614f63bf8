// Maps of a layer's input in scratch memory, and the convolutions that propagate gradients back to them.
//
// A kernel with a stride s reads every s-th row and column. The maps are therefore cut into s x s phases: phase (a, b)
// has the rows a, a + s, ... and the columns b, b + s, ... of the padded map. A convolution of stride s over a map is
// one of stride 1 over its phases, and the gradient of every phase is a convolution with its part of the kernel. With
// stride 1 there is one phase, the map.

#pragma once

#include "map_convolution.hpp"
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

// Input maps with the padding and the stride of the layer's first kernel.
class InputMaps {
   public:
    explicit InputMaps(const Layer& layer);

    int pitch() const { return phase_width; }
    size_t plane() const { return (size_t)stride * stride * phase_height * phase_width; }
    // Returns the offsets of the first kernel's taps on `channels` maps.
    std::vector<int32_t> offsets(int channels) const;
    Vec* make(Scratch slot, int count) const;
    // Reads a map of the source to `map`, one of those of `make`.
    void read(const Source& source, int block, int channel, Vec* map, Vec* slopes) const;
    // Whether the source's values can be used where they lie.
    bool are_values(const Reading& reading) const { return reading.changes_nothing() && !padding && stride == 1; }

   private:
    const int height, width, kernel_height, kernel_width, padding, stride, phase_height, phase_width;
};

// Convolutions that propagate the gradients of the first kernel's results back to its input, one for every phase.
class TurnedConvolution {
   public:
    // channels, results: number of channels of the input and of the results
    TurnedConvolution(const Layer& layer, int channels, int results);

    // Returns the shape of the gradient maps, with the edge that the convolutions read.
    static EdgedMaps gradient_maps(const Layer& layer);

    // Copies the weights. weight_at(result, channel, row, column) returns one.
    template <class WeightAt>
    void pack(WeightAt weight_at) {
        for (Phase& phase : phases)
            phase.convolution.pack([&](int channel, int result, int row, int column) {
                // Every weight of a kernel that covers the map leads to a channel of its own.
                if (covers)
                    return weight_at(result, channel / taps, channel % taps / kernel_width, channel % kernel_width);
                return weight_at(result, channel, phase.row + stride * (phase.rows_of_kernel - 1 - row),
                                 phase.column + stride * (phase.columns_of_kernel - 1 - column));
            });
    }

    // Writes the gradients of the input maps, one behind another, from edged gradient maps.
    void run(const Vec* gradients, Vec* to) const;

   private:
    // Part of the rows or columns of the kernel and of the maps: taps `first`, `first` + stride, ..., which lead to
    // `count` positions of the input from `start` on, counted in strides on the padded map.
    struct Part {
        int taps, start, count;
        Part(int first, int size, int kernel, int padding, int stride);
    };
    struct Phase {
        int row, column, rows_of_kernel, columns_of_kernel, first_row, first_column, height, width;
        size_t corner;  // where the first position reads the gradient maps
        MapConvolution convolution;
    };
    static int edge(int size, int results, int kernel, int padding, int stride);

    bool covers;
    int channels, height, width, padding, stride, kernel_width, taps;
    std::vector<Phase> phases;
};
