#include "winograd_gradients.hpp"

#include <array>
#include <utility>

#include "scratch.hpp"
#include "winograd_transforms.hpp"

namespace {

constexpr int TILE_INPUTS = 6;  // input channels whose sums are kept in registers at a time

// Strips whose transformed pixels and gradients stay in the second cache; shorter ones would spend more on the sums.
constexpr int MOST_VECTORS = 12288, LEAST_STRIP = 4, LONGEST_STRIP = 16;

// Transforms four gradients to the values at the points: the matrix A of Lavin and Gray.
inline void spread(const Vec (&results)[4], Vec (&at)[6]) {
    const Vec even_a = results[0] + results[2] * A2, odd_a = results[1] + results[3] * A2;
    const Vec even_b = results[0] + results[2] * B2, odd_b = results[1] + results[3] * B2;
    at[0] = results[0];
    at[1] = even_a + odd_a * A;
    at[2] = even_a - odd_a * A;
    at[3] = even_b + odd_b * B;
    at[4] = even_b - odd_b * B;
    at[5] = results[3];
}

// Transforms the gradients of one tile.
void transform_tile(const Vec* gradients, int pitch, Vec* to, size_t step) {
    Vec rows[6][4];
    UNROLL
    for (int column = 0; column < 4; ++column) {
        const Vec results[4] = {gradients[column], gradients[pitch + column], gradients[2 * pitch + column],
                                gradients[3 * pitch + column]};
        Vec at[6];
        spread(results, at);
        UNROLL
        for (int point = 0; point < N_POINTS; ++point) rows[point][column] = at[point];
    }
    UNROLL
    for (int row = 0; row < N_POINTS; ++row, to += N_POINTS * step) {
        Vec at[6];
        spread(rows[row], at);
        UNROLL
        for (int point = 0; point < N_POINTS; ++point) to[point * step] = at[point];
    }
}

// Adds the halves of every SIZE lanes of two vectors: sums of the first go to the lower half, of the second to the upper.
template <int SIZE, int... Lane>
inline Vec add_halves(Vec first, Vec second, std::integer_sequence<int, Lane...>) {
    constexpr int HALF = SIZE / 2;
#if defined(__clang__)
    return __builtin_shufflevector(first, second, (Lane % SIZE < HALF ? Lane : LANES + Lane - HALF)...) +
           __builtin_shufflevector(first, second, (Lane % SIZE < HALF ? Lane + HALF : LANES + Lane)...);
#else
    return __builtin_shuffle(first, second, IntVec{(Lane % SIZE < HALF ? Lane : LANES + Lane - HALF)...}) +
           __builtin_shuffle(first, second, IntVec{(Lane % SIZE < HALF ? Lane + HALF : LANES + Lane)...});
#endif
}

// Adds gradient[c] * x[t] over `count` vectors for C output and T input channels to sums[t], in the c-th quarter of the
// lanes.
template <int C, int T>
void add_products(const Vec* x, const Vec* gradients, ptrdiff_t channel, int count, Vec* sums) {
    Vec sum[4][T]{};
    for (int i = 0; i < count; ++i) {
        Vec g[C];
        UNROLL
        for (int c = 0; c < C; ++c) g[c] = gradients[c * channel + i];
        UNROLL
        for (int t = 0; t < T; ++t) {
            Vec value = x[t * channel + i];
            IN_REGISTER(value);
            UNROLL
            for (int c = 0; c < C; ++c) sum[c][t] += g[c] * value;
        }
    }
    constexpr auto lanes = std::make_integer_sequence<int, LANES>{};
    UNROLL
    for (int t = 0; t < T; ++t)
        sums[t] += add_halves<LANES / 2>(add_halves<LANES>(sum[0][t], sum[2][t], lanes),
                                         add_halves<LANES>(sum[1][t], sum[3][t], lanes), lanes);
}

template <int C, size_t... I>
constexpr std::array<decltype(&add_products<1, 1>), sizeof...(I)> products_of(std::index_sequence<I...>) {
    return {add_products<C, 1 + I>...};
}
constexpr auto INPUTS = std::make_index_sequence<TILE_INPUTS>{};
constexpr decltype(products_of<1>(INPUTS)) ADD_PRODUCTS[] = {products_of<1>(INPUTS), products_of<2>(INPUTS),
                                                             products_of<3>(INPUTS), products_of<4>(INPUTS)};

}  // namespace

WinogradGradients::WinogradGradients(int in_channels, int out_channels, size_t plane, int pitch, size_t gradient_plane,
                                     int gradient_pitch, int height, int width)
    : in_channels(in_channels),
      out_channels(out_channels),
      n_channel_tiles(Pieces(out_channels, 4).count),
      plane(plane),
      gradient_plane(gradient_plane),
      pitch(pitch),
      gradient_pitch(gradient_pitch),
      tiles(height, width),
      strip_tiles(std::max(LEAST_STRIP,
                           std::min(LONGEST_STRIP, MOST_VECTORS / (POINT_PAIRS * (in_channels + out_channels))))) {}

// In multiply-adds, measured on a Zen 4.
bool WinogradGradients::pays(int in_channels, int out_channels, int height, int width) {
    if (std::min(height, width) < TILE_SIDE) return false;
    const double products = in_channels * out_channels;
    const double of_tile = 47 * products + 260 * (in_channels + out_channels);
    return Tiles(height, width).count * of_tile < 9 * products * height * width;
}

void WinogradGradients::transform_gradients(const Vec* gradients, int first, int count, Vec* to, size_t step) const {
    for (int tile = first; tile < first + count; ++tile, ++to) {
        const int row = tiles.row(tile), column = tiles.column(tile);
        const int rows = tiles.covered_rows(tile), columns = tiles.covered_columns(tile);
        const Vec* corner = gradients + (ptrdiff_t)row * gradient_pitch + column;
        if (!rows && !columns) {
            transform_tile(corner, gradient_pitch, to, step);
            continue;
        }
        // Gradients that are part of another tile must not be counted twice.
        Vec fresh[TILE_SIDE * TILE_SIDE]{};
        for (int i = rows; i < TILE_SIDE; ++i)
            for (int j = columns; j < TILE_SIDE; ++j) fresh[i * TILE_SIDE + j] = corner[i * gradient_pitch + j];
        transform_tile(fresh, TILE_SIDE, to, step);
    }
}

void WinogradGradients::add(const Vec* x, const Vec* gradients, Vec* sums) const {
    const Pieces strips(tiles.count, strip_tiles), channel_tiles(out_channels, 4), inputs(in_channels, TILE_INPUTS);
    const size_t step = (size_t)in_channels * strip_tiles | 1, gradient_step = (size_t)out_channels * strip_tiles | 1;
    Vec *values = scratch(WINOGRAD_VALUES, POINT_PAIRS * step);
    Vec *spread = scratch(WINOGRAD_PRODUCTS, POINT_PAIRS * gradient_step);
    for (int strip = 0; strip < strips.count; ++strip) {
        const int first = strips.begin(strip), count = strips.size(strip);
        for (int i = 0; i < in_channels; ++i)
            transform_pixels(x + i * plane, pitch, tiles, first, count, values + i * strip_tiles, step);
        for (int o = 0; o < out_channels; ++o)
            transform_gradients(gradients + o * gradient_plane, first, count, spread + o * strip_tiles, gradient_step);
        Vec* of_tile = sums;
        for (int pair = 0; pair < POINT_PAIRS; ++pair)
            for (int i = 0; i < channel_tiles.count; ++i, of_tile += in_channels)
                for (int j = 0; j < inputs.count; ++j)
                    ADD_PRODUCTS[channel_tiles.size(i) - 1][inputs.size(j) - 1](
                        values + pair * step + inputs.begin(j) * strip_tiles,
                        spread + pair * gradient_step + channel_tiles.begin(i) * strip_tiles, strip_tiles, count,
                        of_tile + inputs.begin(j));
    }
}

void WinogradGradients::write(const Vec* sums, float* weights) const {
    const Pieces channel_tiles(out_channels, 4);
    const size_t step = (size_t)n_channel_tiles * in_channels;
    for (int i = 0; i < channel_tiles.count; ++i)
        for (int channel = 0; channel < in_channels; ++channel, ++sums) {
            Vec rows[3][6]{}, taps[3][3]{};
            for (int vertical = 0; vertical < N_POINTS; ++vertical)
                for (int point = 0; point < N_POINTS; ++point)
                    for (int row = 0; row < 3; ++row)
                        rows[row][point] += sums[(N_POINTS * vertical + point) * step] * TAPS[vertical][row];
            for (int row = 0; row < 3; ++row)
                for (int point = 0; point < N_POINTS; ++point)
                    for (int column = 0; column < 3; ++column)
                        taps[row][column] += rows[row][point] * TAPS[point][column];
            for (int c = 0; c < channel_tiles.size(i); ++c)
                for (int tap = 0; tap < 9; ++tap) {
                    const Vec& lanes = taps[tap / 3][tap % 3];
                    float sum = 0;
                    for (int lane = 0; lane < LANES / 4; ++lane) sum += lanes[c * (LANES / 4) + lane];
                    weights[((size_t)(channel_tiles.begin(i) + c) * in_channels + channel) * 9 + tap] = sum;
                }
        }
}
