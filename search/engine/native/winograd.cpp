#include "winograd.hpp"

#include "scratch.hpp"

namespace {

// The points are 0, A, -A, B, -B and infinity.
constexpr float A = 0.75f, B = 1.5f, A2 = A * A, B2 = B * B;

// Values at the points in rows of the transforms: pairs of points share most of their arithmetic.
constexpr int PAIRS[3][2] = {{0, 5}, {1, 2}, {3, 4}};

// Number of tiles that are transformed at a time: as many as the pixels of a tile of a convolution (convolution.cpp).
constexpr int STRIP_TILES = 6;

// Returns the distance of the points' values of `channels` channels. It is odd, because values at a distance of many
// powers of two would compete for the same cache lines.
size_t step_of(int channels) { return (size_t)channels * STRIP_TILES | 1; }

// Transforms six pixels to the values at one pair of points: two rows of the matrix B^T of Lavin and Gray.
template <int PAIR>
inline void at_pair(const Vec (&d)[6], Vec& first, Vec& second) {
    if (PAIR == 0) {
        first = d[0] * (A2 * B2) + (d[4] - d[2] * (A2 + B2));
        second = d[1] * (A2 * B2) + (d[5] - d[3] * (A2 + B2));
        return;
    }
    constexpr float POINT = PAIR == 1 ? A : B, OTHER2 = PAIR == 1 ? B2 : A2;
    const Vec even = d[4] - d[2] * OTHER2, odd = d[3] * POINT - d[1] * (POINT * OTHER2);
    first = even + odd;
    second = even - odd;
}

// Transforms the pixels of neighbouring tiles for the pairs of points with one pair of the vertical direction. The
// last two columns of a tile are the first of the next. to: tile by tile, `step` apart for every pair of points.
template <int PAIR>
void transform_pixels_at(const Vec* x, int pitch, int tiles, Vec* to, size_t step) {
    Vec values[2][6];
    const auto read = [&](int column) {
        const Vec* at = x + column;
        const Vec d[6] = {at[0], at[pitch], at[2 * pitch], at[3 * pitch], at[4 * pitch], at[5 * pitch]};
        at_pair<PAIR>(d, values[0][column], values[1][column]);
    };
    UNROLL
    for (int column = 0; column < 2; ++column) read(column);
    for (int tile = 0; tile < tiles; ++tile, x += TILE_SIDE, ++to) {
        UNROLL
        for (int column = 2; column < 6; ++column) read(column);
        UNROLL
        for (int i = 0; i < 2; ++i) {
            Vec* row = to + N_POINTS * PAIRS[PAIR][i] * step;
            at_pair<0>(values[i], row[PAIRS[0][0] * step], row[PAIRS[0][1] * step]);
            at_pair<1>(values[i], row[PAIRS[1][0] * step], row[PAIRS[1][1] * step]);
            at_pair<2>(values[i], row[PAIRS[2][0] * step], row[PAIRS[2][1] * step]);
            values[i][0] = values[i][4];
            values[i][1] = values[i][5];
        }
    }
}

// Transforms the pixels of the tiles first to first + count - 1 of one map, to `to` tile by tile.
void transform_pixels(const Vec* x, int pitch, const Tiles& tiles, int first, int count, Vec* to, size_t step) {
    for (int tile = first, n; tile < first + count; tile += n, to += n) {
        for (n = 1; tile + n < first + count && tiles.column(tile + n) == tiles.column(tile) + n * TILE_SIDE;) ++n;
        const Vec* corner = x + (ptrdiff_t)tiles.row(tile) * pitch + tiles.column(tile);
        transform_pixels_at<0>(corner, pitch, n, to, step);
        transform_pixels_at<1>(corner, pitch, n, to, step);
        transform_pixels_at<2>(corner, pitch, n, to, step);
    }
}

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

// Factors of the taps at every point: the matrix G of Lavin and Gray.
constexpr float N_A = 2 * A2 * (A2 - B2), N_B = 2 * B2 * (B2 - A2);
constexpr float TAPS[6][3] = {{1 / (A2 * B2), 0, 0},         {1 / N_A, A / N_A, A2 / N_A},
                              {1 / N_A, -A / N_A, A2 / N_A}, {1 / N_B, B / N_B, B2 / N_B},
                              {1 / N_B, -B / N_B, B2 / N_B}, {0, 0, 1}};

}  // namespace

// In multiply-adds, measured on a Zen 4: transforms are limited by the caches, the sums by arithmetic.
bool Winograd::pays(int in_channels, int out_channels, int height, int width) {
    if (std::min(height, width) < TILE_SIDE) return false;
    const double products = in_channels * out_channels;
    const double of_tile = 43 * products + 220 * in_channels + 200 * out_channels;
    return Tiles(height, width).count * of_tile < 9.9 * products * height * width;
}

void Winograd::transform_kernels(const float* kernels, int count, float* to) const {
    std::vector<float> rows(3 * (size_t)count);
    const size_t step = (size_t)in_channels * out_channels;
    for (int vertical = 0; vertical < N_POINTS; ++vertical, to += N_POINTS * step) {
        const float *g = TAPS[vertical], *first = kernels, *second = first + 3 * count, *third = second + 3 * count;
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
    const std::vector<int32_t> offsets = tap_offsets(in_channels, 1, 1, STRIP_TILES, 0);
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
