// Winograd's algorithm F(4x4, 3x3): convolutions with kernels of 3x3 and stride 1 with a quarter of the multiplications.
//
// Along one direction, four results of a kernel with three taps are the coefficients of a product of polynomials. Both
// factors are evaluated at six points, multiplied there, and the product is interpolated: six multiplications instead
// of twelve. A tile of 4 x 4 results needs 6 x 6 pixels, and 36 multiplications instead of 144. They are sums over the
// input channels, a 1x1 convolution for each of the 36 pairs of points, while the transforms are done once a channel.
//
// Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray 2016, arXiv 1509.09308. The points are 0,
// +-3/4, +-3/2 and infinity: their powers are exact in float32, and the results have 2.4 times the rounding of a direct
// sum (root mean square over 16 channels), while 0, +-1, +-2 and infinity have 5 times as much.

#pragma once

#include "convolution.hpp"

constexpr int TILE_SIDE = 4, N_POINTS = 6, POINT_PAIRS = N_POINTS * N_POINTS;

// Tiles of 4 x 4 results that cover a map of at least that size. The last ones of a row or column overlap the ones
// before them where the size is no multiple of 4.
struct Tiles {
    int height, width, columns, count;

    Tiles(int height, int width)
        : height(height), width(width), columns(up(width)), count(columns * up(height)) {}

    int row(int tile) const { return std::min(tile / columns * TILE_SIDE, height - TILE_SIDE); }
    int column(int tile) const { return std::min(tile % columns * TILE_SIDE, width - TILE_SIDE); }
    // Return the number of rows and columns of a tile that tiles before it cover.
    int covered_rows(int tile) const { return tile / columns * TILE_SIDE - row(tile); }
    int covered_columns(int tile) const { return tile % columns * TILE_SIDE - column(tile); }

   private:
    static int up(int size) { return (size + TILE_SIDE - 1) / TILE_SIDE; }
};

// A dense 3x3 convolution of stride 1 of one block of images.
class Winograd {
   public:
    // plane, pitch: distance of the input maps and of their rows, in vectors
    Winograd(int in_channels, int out_channels, size_t plane, int pitch);

    // Whether it is faster than the direct sum, for maps of `height` x `width` results.
    static bool pays(int in_channels, int out_channels, int height, int width);

    // Transforms the weights. weight_at(out channel, in channel, row, column) returns one.
    template <class WeightAt>
    void pack(WeightAt weight_at) {
        const Pieces tiles(out_channels, TILE_CHANNELS);
        size_t first = 0;
        for (int tile = 0; tile < tiles.count; ++tile) {
            const int count = in_channels * tiles.size(tile);
            for (int row = 0; row < 3; ++row)
                for (int column = 0; column < 3; ++column) {
                    float* to = kernels.data() + (size_t)(3 * row + column) * count;
                    for (int i = 0; i < in_channels; ++i)
                        for (int o = tiles.begin(tile); o < tiles.begin(tile + 1); ++o)
                            *to++ = weight_at(o, i, row, column);
                }
            transform_kernels(count, packed.data() + first);
            first += count;
        }
    }

    // Writes `height` rows of `width` results to y, with rows y_pitch apart and channels `out_channel` apart.
    void run(const Vec* x, const float* bias, Vec* y, int height, int width, int y_pitch, ptrdiff_t out_channel) const;

   private:
    // Transforms the first `count` of the kernels and writes them for every pair of points to `to`.
    void transform_kernels(int count, float* to);

    int in_channels, out_channels;
    size_t plane;
    int pitch;
    std::vector<int32_t> offsets;
    std::vector<float> packed;         // for every pair of points in the order of Convolution
    std::vector<float> kernels, rows;  // of one tile of output channels, [tap][kernel], before and between transforms
};
