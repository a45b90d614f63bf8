// Transforms of Winograd's algorithm (winograd.hpp): of pixels, and of the taps of kernels.

#pragma once

#include "winograd.hpp"

// The points are 0, A, -A, B, -B and infinity.
constexpr float A = 0.75f, B = 1.5f, A2 = A * A, B2 = B * B;

// Values at the points in rows of the transforms: pairs of points share most of their arithmetic.
constexpr int PAIRS[3][2] = {{0, 5}, {1, 2}, {3, 4}};

// Factors of the taps at every point: the matrix G of Lavin and Gray.
constexpr float N_A = 2 * A2 * (A2 - B2), N_B = 2 * B2 * (B2 - A2);
constexpr float TAPS[6][3] = {{1 / (A2 * B2), 0, 0},         {1 / N_A, A / N_A, A2 / N_A},
                              {1 / N_A, -A / N_A, A2 / N_A}, {1 / N_B, B / N_B, B2 / N_B},
                              {1 / N_B, -B / N_B, B2 / N_B}, {0, 0, 1}};

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
inline void transform_pixels_at(const Vec* x, int pitch, int tiles, Vec* to, size_t step) {
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
inline void transform_pixels(const Vec* x, int pitch, const Tiles& tiles, int first, int count, Vec* to, size_t step) {
    for (int tile = first, n; tile < first + count; tile += n, to += n) {
        for (n = 1; tile + n < first + count && tiles.column(tile + n) == tiles.column(tile) + n * TILE_SIDE;) ++n;
        const Vec* corner = x + (ptrdiff_t)tiles.row(tile) * pitch + tiles.column(tile);
        transform_pixels_at<0>(corner, pitch, n, to, step);
        transform_pixels_at<1>(corner, pitch, n, to, step);
        transform_pixels_at<2>(corner, pitch, n, to, step);
    }
}
