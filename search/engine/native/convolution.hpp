// Convolutions of one block of images and the gradients of their weights, in tiles of sums kept in registers.

#pragma once

#include <cstring>
#include <vector>

#include "vectors.hpp"

// A tile of C channels needs C registers for weights or gradients and one for a pixel; the others hold sums. A tile of
// few channels has more pixels, because the processor needs many independent sums at a time.
constexpr int TILE_CHANNELS = REGISTERS / 8, MOST_PIXELS = REGISTERS / 2;

// Cuts `total` into pieces of at most `most` that differ by at most one: 10 by 4 gives 4 3 3, not 4 4 2.
struct Pieces {
    int total, count;
    Pieces(int total, int most) : total(total), count((total + most - 1) / most) {}
    int begin(int i) const { return (int)((int64_t)total * i / count); }
    int size(int i) const { return begin(i + 1) - begin(i); }
};

// Returns the offsets of a kernel's taps from its corner, in vectors: channel by channel, row by row.
inline std::vector<int32_t> tap_offsets(int channels, int height, int width, size_t channel_stride, int pitch) {
    std::vector<int32_t> offsets;
    for (int c = 0; c < channels; ++c)
        for (int row = 0; row < height; ++row)
            for (int column = 0; column < width; ++column)
                offsets.push_back((int32_t)(c * channel_stride + row * pitch + column));
    return offsets;
}

// Writes `width` results of every output channel to y, channels `out_channel` apart, from the inputs at the offsets from
// x + 0, x + 1, ... The weights are in tile order, as Convolution packs them.
void convolve_pixels(const Vec* x, const std::vector<int32_t>& offsets, const float* packed, const float* bias, Vec* y,
                     int width, int out_channels, ptrdiff_t out_channel);

// A dense convolution of a block whose maps are already padded, with their row pitch and the weights in tile order.
class Convolution {
   public:
    // offset: distance of every tap's input from that of the first, in vectors. in_pitch: that of rows.
    Convolution(int in_channels, int out_channels, int kernel_height, int kernel_width,
                const std::vector<int32_t>& offset, int in_pitch)
        : in_channels(in_channels),
          out_channels(out_channels),
          in_pitch(in_pitch),
          kernel_height(kernel_height),
          kernel_width(kernel_width),
          single_width(in_channels * out_channels == 1 &&
                               offset == tap_offsets(1, kernel_height, kernel_width, 0, in_pitch)
                           ? kernel_width
                           : 0),
          offset(offset),
          packed(offset.size() * out_channels) {}

    // Copies the weights. weight_at(out channel, in channel, row, column) returns one.
    template <class WeightAt>
    void pack(WeightAt weight_at) {
        const Pieces tiles(out_channels, TILE_CHANNELS);
        float* to = packed.data();
        for (int tile = 0; tile < tiles.count; ++tile)
            for (int i = 0; i < in_channels; ++i)
                for (int r = 0; r < kernel_height; ++r)
                    for (int c = 0; c < kernel_width; ++c)
                        for (int o = tiles.begin(tile); o < tiles.begin(tile + 1); ++o) *to++ = weight_at(o, i, r, c);
    }

    // Writes `height` rows of `width` results to y, with rows `pitch` apart and channels `out_channel` apart.
    void run(const Vec* x, const float* bias, Vec* y, int height, int width, int pitch, ptrdiff_t out_channel) const {
        for (int row = 0; row < height; ++row)
            run_row(x + (ptrdiff_t)row * in_pitch, bias, y + (ptrdiff_t)row * pitch, width, out_channel);
    }

    void run_row(const Vec* x, const float* bias, Vec* y, int width, ptrdiff_t out_channel) const;

   private:
    int in_channels, out_channels, in_pitch, kernel_height, kernel_width;
    int single_width;  // width of the kernel if there is only one channel and it has no stride, else 0
    std::vector<int32_t> offset;
    std::vector<float> packed;
};

// Adds the gradients of the weights from the inputs at `offsets` to every output channel to `sums`, lane by lane:
// [output channel][tap].
void add_weight_gradients(const Vec* x, const std::vector<int32_t>& offsets, int x_pitch, const Vec* dy, int dy_pitch,
                          ptrdiff_t dy_channel, int out_channels, int height, int width, Vec* sums);
