#include "winograd_transforms.hpp"

#include "scratch.hpp"

namespace {

// Number of tiles that are transformed at a time: as many as the pixels of a tile of a convolution (convolution.cpp).
constexpr int STRIP_TILES = 6;

// Returns the distance of the points' values of `channels` channels. It is odd, because values at a distance of many
// powers of two would compete for the same cache lines.
size_t step_of(int channels) { return (size_t)channels * STRIP_TILES | 1; }

// Interpolates four results from the values at the points: the matrix A^T of Lavin and Gray.
inline void interpolate(const Vec (&at)[6], Vec (&results)[4]) {
    const Vec sum_a = at[1] + at[2], difference_a = at[1] - at[2];
    const Vec sum_b = at[3] + at[4], difference_b = at[3] - at[4];
    results[0] = at[0] + sum_a + sum_b;
    results[1] = difference_a * A + difference_b * B;
    results[2] = sum_a * A2 + sum_b * B2;
    results[3] = difference_a * (A2 * A) + difference_b * (B2 * B) + at[5];
}

// Interpolates the results of one tile.
void write_tile(const Vec* products, size_t step, float bias, Vec* y, int pitch) {
    Vec rows[4][6];  // transposed: [column][vertical point]
    UNROLL
    for (int point = 0; point < N_POINTS; ++point, products += N_POINTS * step) {
        const Vec at[6] = {products[0],        products[step],     products[2 * step],
                           products[3 * step], products[4 * step], products[5 * step]};
        Vec results[4];
        interpolate(at, results);
        UNROLL
        for (int column = 0; column < 4; ++column) rows[column][point] = results[column];
    }
    UNROLL
    for (int column = 0; column < 4; ++column) {
        Vec results[4];
        interpolate(rows[column], results);
        UNROLL
        for (int row = 0; row < 4; ++row) y[row * pitch + column] = results[row] + bias;
    }
}

}  // namespace

Winograd::Winograd(int in_channels, int out_channels, size_t plane, int pitch)
    : in_channels(in_channels),
      out_channels(out_channels),
      plane(plane),
      pitch(pitch),
      offsets(tap_offsets(in_channels, 1, 1, STRIP_TILES, 0)),
      packed((size_t)POINT_PAIRS * in_channels * out_channels),
      kernels(9 * (size_t)in_channels * TILE_CHANNELS),
      rows(3 * (size_t)in_channels * TILE_CHANNELS) {}

// In multiply-adds, measured on a Zen 4: transforms are limited by the caches, the sums by arithmetic.
bool Winograd::pays(int in_channels, int out_channels, int height, int width) {
    if (std::min(height, width) < TILE_SIDE) return false;
    const double products = in_channels * out_channels;
    const double of_tile = 43 * products + 220 * in_channels + 200 * out_channels;
    return Tiles(height, width).count * of_tile < 9.9 * products * height * width;
}

void Winograd::transform_kernels(int count, float* to) {
    const size_t step = (size_t)in_channels * out_channels;
    for (int vertical = 0; vertical < N_POINTS; ++vertical, to += N_POINTS * step) {
        const float *g = TAPS[vertical], *first = kernels.data(), *second = first + 3 * count;
        const float* third = second + 3 * count;
        for (int i = 0; i < 3 * count; ++i) rows[i] = g[0] * first[i] + g[1] * second[i] + g[2] * third[i];
        for (int point = 0; point < N_POINTS; ++point) {
            const float *h = TAPS[point], *left = rows.data(), *middle = left + count, *right = middle + count;
            float* of_point = to + point * step;
            for (int i = 0; i < count; ++i) of_point[i] = h[0] * left[i] + h[1] * middle[i] + h[2] * right[i];
        }
    }
}

void Winograd::run(const Vec* x, const float* bias, Vec* y, int height, int width, int y_pitch,
                   ptrdiff_t out_channel) const {
    const Tiles tiles(height, width);
    const Pieces strips(tiles.count, STRIP_TILES);
    const size_t step = step_of(in_channels), product_step = step_of(out_channels);
    Vec *values = scratch(WINOGRAD_VALUES, POINT_PAIRS * step);
    Vec *products = scratch(WINOGRAD_PRODUCTS, POINT_PAIRS * product_step);
    for (int strip = 0; strip < strips.count; ++strip) {
        const int first = strips.begin(strip), count = strips.size(strip);
        for (int i = 0; i < in_channels; ++i)
            transform_pixels(x + i * plane, pitch, tiles, first, count, values + i * STRIP_TILES, step);
        for (int pair = 0; pair < POINT_PAIRS; ++pair)
            convolve_pixels(values + pair * step, offsets, packed.data() + (size_t)pair * in_channels * out_channels,
                            nullptr, products + pair * product_step, count, out_channels, STRIP_TILES);
        for (int o = 0; o < out_channels; ++o)
            for (int i = 0; i < count; ++i)
                write_tile(products + o * STRIP_TILES + i, product_step, bias ? bias[o] : 0,
                           y + o * out_channel + (ptrdiff_t)tiles.row(first + i) * y_pitch + tiles.column(first + i),
                           y_pitch);
    }
}
