// Convolution, batch norm and activation as one layer, forward and backward. Called from search/blocked.py.

#include <cmath>
#include <cstdlib>
#include <type_traits>

#include "activations.hpp"
#include "convolution.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

enum BatchNorm : int32_t { NONE, BATCH, RUNNING };  // normalise by the batch's own statistics or by the running ones

// One convolution of stride 1 with what follows it. The fields are mirrored in search/blocked.py.
struct Layer {
    int32_t images, in_channels, out_channels, groups, kernel_height, kernel_width, padding, in_height, in_width;
    int32_t activation, activation_first;
    int32_t batch_norm;
    float slope, epsilon, momentum;

    int blocks() const { return (images + LANES - 1) / LANES; }
    int out_height() const { return in_height + 2 * padding - kernel_height + 1; }
    int out_width() const { return in_width + 2 * padding - kernel_width + 1; }
    int taps() const { return in_channels / groups * kernel_height * kernel_width; }
};

namespace {

int thread_number() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

// Memory that a thread keeps between calls.
Vec* scratch(int slot, size_t vectors) {
    struct Buffer {
        void* memory = nullptr;
        size_t bytes = 0;
        ~Buffer() { std::free(memory); }
    };
    thread_local Buffer buffers[2];
    Buffer& buffer = buffers[slot];
    if (buffer.bytes < vectors * sizeof(Vec)) {
        std::free(buffer.memory);
        buffer.bytes = vectors * sizeof(Vec);
        buffer.memory = std::aligned_alloc(64, (buffer.bytes + 63) / 64 * 64);
    }
    return (Vec*)buffer.memory;
}

// Calls f with the layer's activation, and whether it comes first, as compile-time constants.
template <class F>
void with_activation(const Layer& layer, F f) {
    auto with_order = [&](auto activation) {
        if (layer.activation_first)
            f(activation, std::true_type{});
        else
            f(activation, std::false_type{});
    };
    switch (layer.activation) {
        case RELU: return with_order(std::integral_constant<int, RELU>{});
        case LEAKY_RELU: return with_order(std::integral_constant<int, LEAKY_RELU>{});
        case SILU: return with_order(std::integral_constant<int, SILU>{});
        case HARDSWISH: return with_order(std::integral_constant<int, HARDSWISH>{});
        default: return with_order(std::integral_constant<int, IDENTITY>{});
    }
}

struct Moments {
    double mean, squares;  // squares: sum of squared distances from the mean
};

// Mean and squares of one map in the used lanes, in two passes: the map is still in the cache.
template <class At>
Moments moments_of(const Vec* map, int pixels, Vec used, int lanes, At at) {
    Vec sum{};
    for (int i = 0; i < pixels; ++i) sum += at(map[i]) * used;
    const double mean = sum_lanes(sum) / ((double)pixels * lanes);
    Vec squares{};
    for (int i = 0; i < pixels; ++i) {
        const Vec distance = (at(map[i]) - (float)mean) * used;
        squares += distance * distance;
    }
    return {mean, sum_lanes(squares)};
}

}  // namespace

extern "C" {

int32_t lanes() { return LANES; }

// y: the convolution's result; z: the layer's. Without batch norm and activation y and z may be the same memory.
// statistics: mean and 1 / standard deviation of every channel, kept for the backward pass.
void layer_forward(const Layer* l, const float* x, const float* weight, const float* bias, const float* gamma,
                   const float* beta, float* running_mean, float* running_var, float* y, float* z, float* statistics,
                   int32_t threads) {
    const Layer& layer = *l;
    const int height = layer.out_height(), width = layer.out_width(), pixels = height * width, blocks = layer.blocks();
    const int in_group = layer.in_channels / layer.groups, out_group = layer.out_channels / layer.groups;
    const int padded_height = layer.in_height + 2 * layer.padding, padded_width = layer.in_width + 2 * layer.padding;
    const size_t in_size = (size_t)layer.in_channels * layer.in_height * layer.in_width;
    const size_t padded_plane = (size_t)padded_height * padded_width, out_size = (size_t)layer.out_channels * pixels;

    std::vector<Convolution> convolutions;
    for (int g = 0; g < layer.groups; ++g)
        convolutions.emplace_back(
            in_group, out_group, layer.kernel_height, layer.kernel_width, padded_plane, padded_width,
            [&](int o, int i, int r, int c) {
                return weight[(((size_t)(g * out_group + o) * in_group + i) * layer.kernel_height + r) *
                                  layer.kernel_width +
                              c];
            });
    std::vector<Moments> moments(layer.batch_norm == BATCH ? (size_t)blocks * layer.out_channels : 0);

#pragma omp parallel for schedule(static) num_threads(threads)
    for (int block = 0; block < blocks; ++block) {
        const Vec* in = (const Vec*)x + block * in_size;
        Vec* out = (Vec*)y + block * out_size;
        if (layer.padding) {
            Vec* padded = scratch(0, layer.in_channels * padded_plane);
            pad(in, layer.in_channels, layer.in_height, layer.in_width, layer.padding, layer.padding, padded);
            in = padded;
        }
        for (int g = 0; g < layer.groups; ++g)
            convolutions[g].run(in + g * in_group * padded_plane, bias ? bias + g * out_group : nullptr,
                                out + (size_t)g * out_group * pixels, height, width);
        if (layer.batch_norm != BATCH) continue;
        const Vec used = used_lanes(layer.images, block);
        with_activation(layer, [&](auto activation, auto first) {
            for (int c = 0; c < layer.out_channels; ++c)
                moments[(size_t)block * layer.out_channels + c] =
                    moments_of(out + (size_t)c * pixels, pixels, used, lanes_in(layer.images, block), [&](Vec value) {
                        return decltype(first)::value ? activate<decltype(activation)::value>(value, layer.slope)
                                                      : value;
                    });
        });
    }
    if (!layer.batch_norm && layer.activation == IDENTITY) return;

    std::vector<float> scale(layer.out_channels, 1.0f), shift(layer.out_channels, 0.0f);
    for (int c = 0; layer.batch_norm == RUNNING && c < layer.out_channels; ++c) {
        scale[c] = (float)(gamma[c] / std::sqrt((double)running_var[c] + layer.epsilon));
        shift[c] = beta[c] - running_mean[c] * scale[c];
    }
    for (int c = 0; layer.batch_norm == BATCH && c < layer.out_channels; ++c) {
        double count = 0, mean = 0, squares = 0;
        for (int block = 0; block < blocks; ++block) {
            const Moments& own = moments[(size_t)block * layer.out_channels + c];
            const double n = (double)lanes_in(layer.images, block) * pixels, distance = own.mean - mean;
            squares += own.squares + distance * distance * count * n / (count + n);
            mean += distance * n / (count + n);
            count += n;
        }
        const double inverse = 1 / std::sqrt(squares / count + layer.epsilon);
        running_mean[c] += layer.momentum * ((float)mean - running_mean[c]);
        running_var[c] += layer.momentum * ((float)(squares / (count - 1)) - running_var[c]);
        statistics[c] = (float)mean;
        statistics[layer.out_channels + c] = (float)inverse;
        scale[c] = (float)(gamma[c] * inverse);
        shift[c] = (float)(beta[c] - mean * gamma[c] * inverse);
    }
    with_activation(layer, [&](auto activation, auto first) {
        constexpr int A = decltype(activation)::value;
        constexpr bool FIRST = decltype(first)::value;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int plane = 0; plane < blocks * layer.out_channels; ++plane) {
            const Vec* from = (const Vec*)y + (size_t)plane * pixels;
            Vec* to = (Vec*)z + (size_t)plane * pixels;
            const float s = scale[plane % layer.out_channels], t = shift[plane % layer.out_channels];
            for (int i = 0; i < pixels; ++i)
                to[i] = FIRST ? activate<A>(from[i], layer.slope) * s + t : activate<A>(from[i] * s + t, layer.slope);
        }
    });
}

// From dz, the gradient of the layer's result, those of its input (dx, may be null) and of all its parameters.
void layer_backward(const Layer* l, const float* x, const float* weight, const float* gamma, const float* beta,
                    const float* y, const float* statistics, const float* dz, float* dx, float* dweight, float* dbias,
                    float* dgamma, float* dbeta, int32_t threads) {
    const Layer& layer = *l;
    const int height = layer.out_height(), width = layer.out_width(), pixels = height * width, blocks = layer.blocks();
    const int channels = layer.out_channels, in_group = layer.in_channels / layer.groups,
              out_group = channels / layer.groups;
    const int padded_height = layer.in_height + 2 * layer.padding, padded_width = layer.in_width + 2 * layer.padding;
    const size_t in_size = (size_t)layer.in_channels * layer.in_height * layer.in_width;
    const size_t padded_plane = (size_t)padded_height * padded_width, out_size = (size_t)channels * pixels;
    // Around dy as many zeros as the input gradient's convolution with the turned kernel reaches.
    const int edge_rows = dx ? layer.kernel_height - 1 - layer.padding : 0;
    const int edge_columns = dx ? layer.kernel_width - 1 - layer.padding : 0;
    const int dy_pitch = width + 2 * edge_columns;
    const size_t dy_plane = (size_t)(height + 2 * edge_rows) * dy_pitch;
    const double count = (double)layer.images * pixels;

    std::vector<double> sums,
        products;  // of g and of g * normalised value, per channel: the gradients of beta and gamma
    if (layer.batch_norm) {
        std::vector<float> plane_sums((size_t)blocks * channels), plane_products((size_t)blocks * channels);
        with_activation(layer, [&](auto activation, auto first) {
            constexpr int A = decltype(activation)::value;
            constexpr bool FIRST = decltype(first)::value;
#pragma omp parallel for schedule(static) num_threads(threads)
            for (int plane = 0; plane < blocks * channels; ++plane) {
                const int c = plane % channels;
                const Vec *value = (const Vec*)y + (size_t)plane * pixels,
                          *gradient = (const Vec*)dz + (size_t)plane * pixels;
                const float mean = statistics[c], inverse = statistics[channels + c];
                const float s = gamma[c] * inverse, t = beta[c] - mean * s;
                Vec sum{}, product{};
                for (int i = 0; i < pixels; ++i) {
                    const Vec v = FIRST ? activate<A>(value[i], layer.slope) : value[i];
                    const Vec g = FIRST ? gradient[i] : gradient[i] * slope_at<A>(v * s + t, layer.slope);
                    sum += g;
                    product += g * (v - mean);
                }
                plane_sums[plane] = sum_lanes(sum);
                plane_products[plane] = sum_lanes(product) * inverse;
            }
        });
        sums.assign(channels, 0);
        products.assign(channels, 0);
        for (int plane = 0; plane < blocks * channels; ++plane) {
            sums[plane % channels] += plane_sums[plane];
            products[plane % channels] += plane_products[plane];
        }
        for (int c = 0; c < channels; ++c) {
            dbeta[c] = (float)sums[c];
            dgamma[c] = (float)products[c];
        }
    }

    std::vector<Convolution> to_input;
    for (int g = 0; g < layer.groups; ++g) {
        if (dx)
            to_input.emplace_back(
                out_group, in_group, layer.kernel_height, layer.kernel_width, dy_plane, dy_pitch,
                [&](int i, int o, int r, int c) {
                    return weight[(((size_t)(g * out_group + o) * in_group + i) * layer.kernel_height +
                                   (layer.kernel_height - 1 - r)) *
                                      layer.kernel_width +
                                  (layer.kernel_width - 1 - c)];
                });
    }
    const int taps = layer.taps();
    std::vector<int32_t> offset;
    for (int i = 0; i < in_group; ++i)
        for (int r = 0; r < layer.kernel_height; ++r)
            for (int c = 0; c < layer.kernel_width; ++c)
                offset.push_back((int32_t)(i * padded_plane + r * padded_width + c));
    std::memset(dweight, 0, sizeof(float) * channels * taps);
    if (dbias) std::memset(dbias, 0, sizeof(float) * channels);

    // Every thread sums its blocks lane by lane; at the end the threads are added in their order.
    const size_t sums_size = (size_t)channels * (taps + 1);
    std::vector<Vec> thread_sums(sums_size * threads);
#pragma omp parallel num_threads(threads)
    {
        Vec *dw = thread_sums.data() + sums_size * thread_number(), *db = dw + (size_t)channels * taps;
#pragma omp for schedule(static)
        for (int block = 0; block < blocks; ++block) {
            const Vec used = used_lanes(layer.images, block);
            Vec* dy = scratch(1, channels * dy_plane);
            std::memset((void*)dy, 0, sizeof(Vec) * channels * dy_plane);
            with_activation(layer, [&](auto activation, auto first) {
                constexpr int A = decltype(activation)::value;
                constexpr bool FIRST = decltype(first)::value;
                for (int c = 0; c < channels; ++c) {
                    const bool norm = layer.batch_norm;
                    const float mean = norm ? statistics[c] : 0, inverse = norm ? statistics[channels + c] : 1;
                    const float s = norm ? gamma[c] * inverse : 1, t = norm ? beta[c] - mean * s : 0;
                    const float m1 = norm ? (float)(sums[c] / count) : 0;
                    const float m2 = norm ? (float)(products[c] / count) * inverse : 0;
                    Vec total{};
                    for (int row = 0; row < height; ++row) {
                        const size_t from = block * out_size + (size_t)c * pixels + (size_t)row * width;
                        const Vec *value = (const Vec*)y + from, *gradient = (const Vec*)dz + from;
                        Vec* to = dy + c * dy_plane + (size_t)(row + edge_rows) * dy_pitch + edge_columns;
                        for (int i = 0; i < width; ++i) {
                            const Vec v = FIRST ? activate<A>(value[i], layer.slope) : value[i];
                            const Vec g = FIRST ? gradient[i] : gradient[i] * slope_at<A>(v * s + t, layer.slope);
                            Vec d = (g - m1 - (v - mean) * m2) * s;
                            if (FIRST) d *= slope_at<A>(value[i], layer.slope);
                            d *= used;
                            to[i] = d;
                            total += d;
                        }
                    }
                    db[c] += total;
                }
            });
            const Vec* in = (const Vec*)x + block * in_size;
            if (layer.padding) {
                Vec* padded = scratch(0, layer.in_channels * padded_plane);
                pad(in, layer.in_channels, layer.in_height, layer.in_width, layer.padding, layer.padding, padded);
                in = padded;
            }
            const Pieces channel_tiles(out_group, TILE_CHANNELS), tap_tiles(taps, TILE_PIXELS);
            for (int g = 0; g < layer.groups; ++g)
                for (int i = 0; i < channel_tiles.count; ++i)
                    for (int j = 0; j < tap_tiles.count; ++j) {
                        const int channel = g * out_group + channel_tiles.begin(i), tap = tap_tiles.begin(j);
                        WEIGHT_GRADIENT[tile_index(channel_tiles.size(i), tap_tiles.size(j))](
                            in + g * in_group * padded_plane, offset.data() + tap, padded_width,
                            dy + channel * dy_plane + (size_t)edge_rows * dy_pitch + edge_columns, dy_pitch, dy_plane,
                            height, width, dw + (size_t)channel * taps + tap, taps);
                    }
            if (dx)
                for (int g = 0; g < layer.groups; ++g)
                    to_input[g].run(
                        dy + g * out_group * dy_plane, nullptr,
                        (Vec*)dx + block * in_size + (size_t)g * in_group * layer.in_height * layer.in_width,
                        layer.in_height, layer.in_width);
        }
    }
    for (int thread = 0; thread < threads; ++thread) {
        const Vec *dw = thread_sums.data() + sums_size * thread, *db = dw + (size_t)channels * taps;
        for (int i = 0; i < channels * taps; ++i) dweight[i] += sum_lanes(dw[i]);
        for (int c = 0; dbias && c < channels; ++c) dbias[c] += sum_lanes(db[c]);
    }
}

}  // extern "C"
