// A layer's backward pass. Called from search/native_ops.py.

#include "convolution.hpp"
#include "layer.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

int thread_number() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

// What batch norm did to one channel: value * scale + shift, from its mean and 1 / standard deviation.
struct Norm {
    float mean = 0, inverse = 1, scale = 1, shift = 0;

    Norm(const Layer& layer, const float* statistics, const float* gamma, const float* beta, int channel) {
        if (layer.batch_norm == NONE) return;
        mean = statistics[channel];
        inverse = statistics[layer.out_channels + channel];
        scale = gamma[channel] * inverse;
        shift = beta[channel] - mean * scale;
    }
};

// Sums over a batch, per channel: of the gradient after batch norm, and of it times the normalised value.
struct NormGradients {
    std::vector<double> sum, product;
};

NormGradients norm_gradients(const Layer& layer, const float* y, const float* dz, const float* statistics,
                             const float* gamma, const float* beta, int threads) {
    (void)threads;  // unused without OpenMP
    const int channels = layer.out_channels, pixels = layer.out_pixels(), planes = layer.blocks() * channels;
    NormGradients all{std::vector<double>(channels), std::vector<double>(channels)};
    if (layer.batch_norm == NONE) return all;
    std::vector<float> sums(planes), products(planes);
    with_activation(layer, [&](auto activation, auto first) {
        constexpr int A = decltype(activation)::value;
        constexpr bool FIRST = decltype(first)::value;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int plane = 0; plane < planes; ++plane) {
            const Norm norm(layer, statistics, gamma, beta, plane % channels);
            const Vec* value = (const Vec*)y + (size_t)plane * pixels;
            const Vec* gradient = (const Vec*)dz + (size_t)plane * pixels;
            Vec sum{}, product{};
            for (int i = 0; i < pixels; ++i) {
                const Vec v = FIRST ? activate<A>(value[i], layer.slope) : value[i];
                const Vec g = FIRST ? gradient[i] : gradient[i] * slope_at<A>(v * norm.scale + norm.shift, layer.slope);
                sum += g;
                product += g * (v - norm.mean);
            }
            sums[plane] = sum_lanes(sum);
            products[plane] = sum_lanes(product) * norm.inverse;
        }
    });
    for (int plane = 0; plane < planes; ++plane) {
        all.sum[plane % channels] += sums[plane];
        all.product[plane % channels] += products[plane];
    }
    return all;
}

// Gradients of the results of one block and group of the convolution, with an edge of zeros around every map. A group
// at a time, because those of a depthwise convolution then stay in the first cache.
struct EdgedMaps {
    int height, width, rows, columns;

    int pitch() const { return width + 2 * columns; }
    size_t plane() const { return (size_t)(height + 2 * rows) * pitch(); }
    size_t inner(int channel, int row) const { return channel * plane() + (size_t)(row + rows) * pitch() + columns; }
};

// From the gradient of the layer's results in one group of channels, back through activation and batch norm. y, dz and
// totals, which gets the sum per channel, are of all channels.
template <int A, bool FIRST>
void through_norm(const Layer& layer, const EdgedMaps& maps, int group, const Vec* y, const Vec* dz, Vec used,
                  const float* statistics, const float* gamma, const float* beta, const NormGradients& sums, Vec* dy,
                  Vec* totals) {
    const double count = (double)layer.images * layer.out_pixels();
    for (int own = 0; own < layer.out_group(); ++own) {
        const int c = group * layer.out_group() + own;
        const Norm norm(layer, statistics, gamma, beta, c);
        const float mean_gradient = (float)(sums.sum[c] / count);
        const float mean_product = (float)(sums.product[c] / count) * norm.inverse;
        Vec total{};
        for (int row = 0; row < maps.height; ++row) {
            const size_t from = ((size_t)c * maps.height + row) * maps.width;
            Vec* to = dy + maps.inner(own, row);
            for (int i = 0; i < maps.width; ++i) {
                const Vec value = y[from + i];
                const Vec v = FIRST ? activate<A>(value, layer.slope) : value;
                const Vec g =
                    FIRST ? dz[from + i] : dz[from + i] * slope_at<A>(v * norm.scale + norm.shift, layer.slope);
                Vec d = (g - mean_gradient - (v - norm.mean) * mean_product) * norm.scale * used;
                if (FIRST) d *= slope_at<A>(value, layer.slope);
                to[i] = d;
                total += d;
            }
        }
        totals[c] += total;
    }
}

// The convolution that takes gradients back to the input: channels exchanged, kernels turned by half.
std::vector<Convolution> turned_convolutions(const Layer& layer, const float* weight, const EdgedMaps& maps) {
    std::vector<Convolution> groups;
    for (int g = 0; g < layer.groups; ++g)
        groups.emplace_back(
            layer.out_group(), layer.in_group(), layer.kernel_height, layer.kernel_width, maps.plane(), maps.pitch(),
            [&](int i, int o, int row, int column) {
                return weight[layer.weight_index(g * layer.out_group() + o, i, layer.kernel_height - 1 - row,
                                                 layer.kernel_width - 1 - column)];
            });
    return groups;
}

// Adds one block's gradients of a group's weights to `sums`, lane by lane. All arguments are those of the group.
void add_weight_gradients(const Layer& layer, const EdgedMaps& maps, const std::vector<int32_t>& offsets, const Vec* x,
                          const Vec* dy, Vec* sums) {
    const int taps = layer.taps();
    const Pieces channel_tiles(layer.out_group(), TILE_CHANNELS);
    for (int i = 0; i < channel_tiles.count; ++i) {
        const int channel = channel_tiles.begin(i), channels = channel_tiles.size(i);
        const Pieces tap_tiles(taps, tile_pixels(channels));
        for (int j = 0; j < tap_tiles.count; ++j) {
            const int tap = tap_tiles.begin(j);
            WEIGHT_GRADIENT[tile_index(channels, tap_tiles.size(j))](
                x, offsets.data() + tap, layer.padded_width(), dy + maps.inner(channel, 0), maps.pitch(), maps.plane(),
                maps.height, maps.width, sums + (size_t)channel * taps + tap, taps);
        }
    }
}

}  // namespace

extern "C" {

// From dz, the gradient of the layer's result, those of its input and of its parameters. dx, dbias, dgamma and dbeta
// may be null. y and statistics are what the forward pass left.
void layer_backward(const Layer* l, const float* x, const float* weight, const float* gamma, const float* beta,
                    const float* y, const float* statistics, const float* dz, float* dx, float* dweight, float* dbias,
                    float* dgamma, float* dbeta, int32_t threads) {
    const Layer& layer = *l;
    const int channels = layer.out_channels, taps = layer.taps();
    const NormGradients norm_sums = norm_gradients(layer, y, dz, statistics, gamma, beta, threads);
    // As many zeros around dy as the convolution with the turned kernel reaches.
    const EdgedMaps maps{layer.out_height(), layer.out_width(), dx ? layer.kernel_height - 1 - layer.padding : 0,
                         dx ? layer.kernel_width - 1 - layer.padding : 0};
    const std::vector<Convolution> to_input = turned_convolutions(layer, weight, maps);
    const std::vector<int32_t> offsets = tap_offsets(layer.in_group(), layer.kernel_height, layer.kernel_width,
                                                     layer.padded_plane(), layer.padded_width());
    // Every thread sums its blocks, of every weight and then of every bias; at the end the threads are added in order.
    const size_t n_sums = (size_t)channels * (taps + 1);
    std::vector<Vec> sums(n_sums * threads);
#pragma omp parallel num_threads(threads)
    {
        Vec *weight_sums = sums.data() + n_sums * thread_number(), *bias_sums = weight_sums + (size_t)channels * taps;
#pragma omp for schedule(static)
        for (int block = 0; block < layer.blocks(); ++block) {
            const Vec* in = padded_input(layer, (const Vec*)x + block * layer.in_block());
            const size_t in_plane = (size_t)layer.in_height * layer.in_width;
            Vec* dy = scratch(1, layer.out_group() * maps.plane());
            for (int g = 0; g < layer.groups; ++g) {
                std::memset((void*)dy, 0, sizeof(Vec) * layer.out_group() * maps.plane());
                with_activation(layer, [&](auto activation, auto first) {
                    through_norm<decltype(activation)::value, decltype(first)::value>(
                        layer, maps, g, (const Vec*)y + block * layer.out_block(),
                        (const Vec*)dz + block * layer.out_block(), used_lanes(layer.images, block), statistics, gamma,
                        beta, norm_sums, dy, bias_sums);
                });
                add_weight_gradients(layer, maps, offsets, in + g * layer.in_group() * layer.padded_plane(), dy,
                                     weight_sums + (size_t)g * layer.out_group() * taps);
                if (dx)
                    to_input[g].run(dy, nullptr, (Vec*)dx + block * layer.in_block() + g * layer.in_group() * in_plane,
                                    layer.in_height, layer.in_width);
            }
        }
    }
    for (int c = 0; c < channels; ++c) {
        if (dgamma) dgamma[c] = (float)norm_sums.product[c];
        if (dbeta) dbeta[c] = (float)norm_sums.sum[c];
        if (dbias) dbias[c] = 0;
    }
    std::memset(dweight, 0, sizeof(float) * channels * taps);
    for (int thread = 0; thread < threads; ++thread) {
        const Vec *weight_sums = sums.data() + n_sums * thread, *bias_sums = weight_sums + (size_t)channels * taps;
        for (int i = 0; i < channels * taps; ++i) dweight[i] += sum_lanes(weight_sums[i]);
        for (int c = 0; dbias && c < channels; ++c) dbias[c] += sum_lanes(bias_sums[c]);
    }
}

}  // extern "C"
