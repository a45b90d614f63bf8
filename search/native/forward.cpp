// A layer's forward pass. Called from search/native_ops.py.

#include <cmath>
#include <cstdlib>

#include "convolution.hpp"
#include "layer.hpp"

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
        buffer.bytes = (vectors * sizeof(Vec) + 63) / 64 * 64;
        buffer.memory = std::aligned_alloc(64, buffer.bytes);
    }
    return (Vec*)buffer.memory;
}

const Vec* padded_input(const Layer& layer, const Vec* x) {
    if (!layer.padding) return x;
    Vec* padded = scratch(0, layer.in_channels * layer.padded_plane());
    pad(x, layer.in_channels, layer.in_height, layer.in_width, layer.padding, layer.padding, padded);
    return padded;
}

namespace {

struct Moments {
    double mean = 0, squares = 0, count = 0;  // squares: sum of squared distances from the mean

    // Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance".
    void add(const Moments& other) {
        const double distance = other.mean - mean, total = count + other.count;
        squares += other.squares + distance * distance * count * other.count / total;
        mean += distance * other.count / total;
        count = total;
    }
};

// Of one map in the used lanes, in two passes: the map is still in the cache.
template <class At>
Moments moments_of(const Vec* map, int pixels, Vec used, int lanes, At at) {
    const double count = (double)pixels * lanes;
    Vec sum{};
    for (int i = 0; i < pixels; ++i) sum += at(map[i]) * used;
    const double mean = sum_lanes(sum) / count;
    Vec squares{};
    for (int i = 0; i < pixels; ++i) {
        const Vec distance = (at(map[i]) - (float)mean) * used;
        squares += distance * distance;
    }
    return {mean, sum_lanes(squares), count};
}

std::vector<Convolution> convolutions_of(const Layer& layer, const float* weight) {
    std::vector<Convolution> groups;
    for (int g = 0; g < layer.groups; ++g)
        groups.emplace_back(layer.in_group(), layer.out_group(), layer.kernel_height, layer.kernel_width,
                            layer.padded_plane(), layer.padded_width(), [&](int o, int i, int row, int column) {
                                return weight[layer.weight_index(g * layer.out_group() + o, i, row, column)];
                            });
    return groups;
}

// The convolution, and the moments of every block and channel where batch norm asks for them.
std::vector<Moments> convolve(const Layer& layer, const float* x, const float* weight, const float* bias, float* y,
                              int threads) {
    (void)threads;  // unused without OpenMP
    const int channels = layer.out_channels, pixels = layer.out_pixels(), out_group = layer.out_group();
    const std::vector<Convolution> groups = convolutions_of(layer, weight);
    std::vector<Moments> moments(layer.batch_norm == BATCH ? (size_t)layer.blocks() * channels : 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int block = 0; block < layer.blocks(); ++block) {
        const Vec* in = padded_input(layer, (const Vec*)x + block * layer.in_block());
        Vec* out = (Vec*)y + block * layer.out_block();
        for (int g = 0; g < layer.groups; ++g)
            groups[g].run(in + g * layer.in_group() * layer.padded_plane(), bias ? bias + g * out_group : nullptr,
                          out + (size_t)g * out_group * pixels, layer.out_height(), layer.out_width());
        if (layer.batch_norm != BATCH) continue;
        with_activation(layer, [&](auto activation, auto first) {
            constexpr int A = decltype(first)::value ? decltype(activation)::value : IDENTITY;
            for (int c = 0; c < channels; ++c)
                moments[(size_t)block * channels + c] =
                    moments_of(out + (size_t)c * pixels, pixels, used_lanes(layer.images, block),
                               lanes_in(layer.images, block), [&](Vec v) { return activate<A>(v, layer.slope); });
        });
    }
    return moments;
}

}  // namespace

extern "C" {

int32_t lanes() { return LANES; }

// y: the convolution's result; z: the layer's. Without batch norm and activation y and z are the same memory.
// statistics: mean and 1 / standard deviation of every channel, kept for the backward pass.
void layer_forward(const Layer* l, const float* x, const float* weight, const float* bias, const float* gamma,
                   const float* beta, float* running_mean, float* running_var, float* y, float* z, float* statistics,
                   int32_t threads) {
    const Layer& layer = *l;
    const int channels = layer.out_channels, pixels = layer.out_pixels();
    const std::vector<Moments> moments = convolve(layer, x, weight, bias, y, threads);
    if (layer.batch_norm == NONE && layer.activation == IDENTITY) return;

    std::vector<float> scale(channels, 1.0f), shift(channels, 0.0f);
    for (int c = 0; c < channels && layer.batch_norm != NONE; ++c) {
        double mean = running_mean[c], variance = running_var[c];
        if (layer.batch_norm == BATCH) {
            Moments all_blocks;
            for (int block = 0; block < layer.blocks(); ++block) all_blocks.add(moments[(size_t)block * channels + c]);
            mean = all_blocks.mean;
            variance = all_blocks.squares / all_blocks.count;
            running_mean[c] += layer.momentum * ((float)mean - running_mean[c]);
            running_var[c] += layer.momentum * ((float)(all_blocks.squares / (all_blocks.count - 1)) - running_var[c]);
        }
        const double inverse = 1 / std::sqrt(variance + layer.epsilon);
        statistics[c] = (float)mean;
        statistics[channels + c] = (float)inverse;
        scale[c] = (float)(gamma[c] * inverse);
        shift[c] = (float)(beta[c] - mean * gamma[c] * inverse);
    }
    with_activation(layer, [&](auto activation, auto first) {
        constexpr int A = decltype(activation)::value;
        constexpr bool FIRST = decltype(first)::value;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int plane = 0; plane < layer.blocks() * channels; ++plane) {
            const Vec* from = (const Vec*)y + (size_t)plane * pixels;
            Vec* to = (Vec*)z + (size_t)plane * pixels;
            const float s = scale[plane % channels], t = shift[plane % channels];
            for (int i = 0; i < pixels; ++i)
                to[i] = FIRST ? activate<A>(from[i], layer.slope) * s + t : activate<A>(from[i] * s + t, layer.slope);
        }
    });
}

}  // extern "C"
