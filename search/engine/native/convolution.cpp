// Tiles of a convolution and of the gradients of its weights, for every size of tile.

#include "convolution.hpp"

#include <array>
#include <utility>

namespace {

// Sums weight[tap][c] * x[offset[tap] + p] over all taps for every c and p, in registers.
template <int C, int P>
void convolve_tile(const Vec* x, const int32_t* offset, int taps, const float* weight, const float* bias, Vec* y,
                   ptrdiff_t channel_stride) {
    // The results' place in memory is asked for while they are computed.
    UNROLL
    for (int c = 0; c < C; ++c) UNROLL
    for (int p = 0; p < P; ++p) __builtin_prefetch(y + c * channel_stride + p, 1);
    Vec sum[C][P];
    UNROLL
    for (int c = 0; c < C; ++c) UNROLL
    for (int p = 0; p < P; ++p) sum[c][p] = all(bias ? bias[c] : 0.0f);
    for (int tap = 0; tap < taps; ++tap, weight += C) {
        const Vec* in = x + offset[tap];
        Vec w[C];
        UNROLL
        for (int c = 0; c < C; ++c) w[c] = all(weight[c]);
        UNROLL
        for (int p = 0; p < P; ++p) {
            Vec pixel = in[p];
            IN_REGISTER(pixel);
            UNROLL
            for (int c = 0; c < C; ++c) sum[c][p] += w[c] * pixel;
        }
    }
    UNROLL
    for (int c = 0; c < C; ++c) UNROLL
    for (int p = 0; p < P; ++p) y[c * channel_stride + p] = sum[c][p];
}

// The same for a single channel and a kernel of width W. A pixel is part of W neighbouring sums and is loaded only once
// for all of them, because with so few sums the loads would take longer than the sums.
template <int W, int P>
void convolve_single(const Vec* x, int pitch, int kernel_height, const float* weight, float bias, Vec* y) {
    Vec sum[P];
    UNROLL
    for (int p = 0; p < P; ++p) sum[p] = all(bias);
    for (int row = 0; row < kernel_height; ++row, weight += W, x += pitch) {
        Vec w[W];
        UNROLL
        for (int column = 0; column < W; ++column) w[column] = all(weight[column]);
        UNROLL
        for (int i = 0; i < P + W - 1; ++i) {
            Vec pixel = x[i];
            IN_REGISTER(pixel);
            UNROLL
            for (int column = 0; column < W; ++column)
                if (i >= column && i - column < P) sum[i - column] += w[column] * pixel;
        }
    }
    UNROLL
    for (int p = 0; p < P; ++p) y[p] = sum[p];
}

// Adds dy[c] * x[offset[t]] over all pixels to sums[c][t]: gradients of the weights of C channels and T taps, lane by
// lane.
template <int C, int T>
void weight_gradient_tile(const Vec* x, const int32_t* offset, int x_pitch, const Vec* dy, int dy_pitch,
                          ptrdiff_t dy_channel, int height, int width, Vec* sums, ptrdiff_t taps) {
    Vec sum[C][T];
    const Vec* at[T];
    UNROLL
    for (int t = 0; t < T; ++t) at[t] = x + offset[t];
    UNROLL
    for (int c = 0; c < C; ++c) UNROLL
    for (int t = 0; t < T; ++t) sum[c][t] = sums[c * taps + t];
    for (int row = 0; row < height; ++row) {
        const Vec* gradient = dy + row * dy_pitch;
        const ptrdiff_t from = (ptrdiff_t)row * x_pitch;
        for (int column = 0; column < width; ++column) {
            Vec g[C];
            UNROLL
            for (int c = 0; c < C; ++c) g[c] = gradient[c * dy_channel + column];
            UNROLL
            for (int t = 0; t < T; ++t) {
                Vec pixel = at[t][from + column];
                IN_REGISTER(pixel);
                UNROLL
                for (int c = 0; c < C; ++c) sum[c][t] += g[c] * pixel;
            }
        }
    }
    UNROLL
    for (int c = 0; c < C; ++c) UNROLL
    for (int t = 0; t < T; ++t) sums[c * taps + t] = sum[c][t];
}

constexpr int tile_pixels(int channels) { return std::min(MOST_PIXELS, REGISTERS * 3 / 4 / channels); }
constexpr int tile_index(int channels, int pixels) { return (channels - 1) * MOST_PIXELS + pixels - 1; }

typedef decltype(&convolve_tile<1, 1>) ConvolveTile;
typedef decltype(&convolve_single<3, 1>) ConvolveSingle;
typedef decltype(&weight_gradient_tile<1, 1>) WeightGradientTile;
typedef std::make_index_sequence<TILE_CHANNELS * MOST_PIXELS> TileSizes;

// Channels and pixels of the I-th tile size; sizes that are too large are never used.
template <size_t I>
constexpr int CHANNELS = 1 + I / MOST_PIXELS;
template <size_t I>
constexpr int PIXELS = 1 + I % MOST_PIXELS <= (size_t)tile_pixels(CHANNELS<I>) ? 1 + I % MOST_PIXELS : 1;

template <size_t... I>
constexpr std::array<ConvolveTile, sizeof...(I)> convolve_tiles(std::index_sequence<I...>) {
    return {convolve_tile<CHANNELS<I>, PIXELS<I>>...};
}
template <size_t... I>
constexpr std::array<WeightGradientTile, sizeof...(I)> weight_gradient_tiles(std::index_sequence<I...>) {
    return {weight_gradient_tile<CHANNELS<I>, PIXELS<I>>...};
}
template <int W, size_t... I>
constexpr std::array<ConvolveSingle, sizeof...(I)> single_tiles(std::index_sequence<I...>) {
    return {convolve_single<W, 1 + I>...};
}
constexpr auto CONVOLVE = convolve_tiles(TileSizes{});
constexpr auto CONVOLVE_3_WIDE = single_tiles<3>(std::make_index_sequence<MOST_PIXELS>{});
constexpr auto CONVOLVE_5_WIDE = single_tiles<5>(std::make_index_sequence<MOST_PIXELS>{});
constexpr auto CONVOLVE_7_WIDE = single_tiles<7>(std::make_index_sequence<MOST_PIXELS>{});
constexpr auto WEIGHT_GRADIENT = weight_gradient_tiles(TileSizes{});

}  // namespace

void Convolution::run_row(const Vec* x, const float* bias, Vec* y, int width, ptrdiff_t out_channel) const {
    if (single_width == 3 || single_width == 5 || single_width == 7) {
        const auto& single = single_width == 3   ? CONVOLVE_3_WIDE
                             : single_width == 5 ? CONVOLVE_5_WIDE
                                                 : CONVOLVE_7_WIDE;
        const Pieces tiles(width, MOST_PIXELS);
        for (int i = 0; i < tiles.count; ++i)
            single[tiles.size(i) - 1](x + tiles.begin(i), in_pitch, kernel_height, packed.data(), bias ? *bias : 0,
                                      y + tiles.begin(i));
        return;
    }
    convolve_pixels(x, offset, packed.data(), bias, y, width, out_channels, out_channel);
}

void convolve_pixels(const Vec* x, const std::vector<int32_t>& offsets, const float* packed, const float* bias, Vec* y,
                     int width, int out_channels, ptrdiff_t out_channel) {
    const Pieces channel_tiles(out_channels, TILE_CHANNELS);
    const int taps = (int)offsets.size();
    for (int i = 0; i < channel_tiles.count; ++i) {
        const int channel = channel_tiles.begin(i), channels = channel_tiles.size(i);
        const Pieces pixel_tiles(width, tile_pixels(channels));
        for (int j = 0; j < pixel_tiles.count; ++j) {
            const int column = pixel_tiles.begin(j);
            CONVOLVE[tile_index(channels, pixel_tiles.size(j))](
                x + column, offsets.data(), taps, packed + (size_t)channel * taps, bias ? bias + channel : nullptr,
                y + channel * out_channel + column, out_channel);
        }
    }
}

void add_weight_gradients(const Vec* x, const std::vector<int32_t>& offsets, int x_pitch, const Vec* dy, int dy_pitch,
                          ptrdiff_t dy_channel, int out_channels, int height, int width, Vec* sums) {
    const int taps = (int)offsets.size();
    const Pieces channel_tiles(out_channels, TILE_CHANNELS);
    for (int i = 0; i < channel_tiles.count; ++i) {
        const int channel = channel_tiles.begin(i), channels = channel_tiles.size(i);
        const Pieces tap_tiles(taps, tile_pixels(channels));
        for (int j = 0; j < tap_tiles.count; ++j) {
            const int tap = tap_tiles.begin(j);
            WEIGHT_GRADIENT[tile_index(channels, tap_tiles.size(j))](
                x, offsets.data() + tap, x_pitch, dy + channel * dy_channel, dy_pitch, dy_channel, height, width,
                sums + (size_t)channel * taps + tap, taps);
        }
    }
}
