// Forward pass of a layer, called from search/engine/native/ops.py.

#include <cmath>

#include "layer.hpp"
#include "out_of_memory.hpp"

namespace {

struct Moments {
    double mean = 0, squares = 0, count = 0;  // squares: sum of squared distances from the mean

    // Merges two sets of values as in Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance".
    void add(const Moments& other) {
        const double distance = other.mean - mean, total = count + other.count;
        squares += other.squares + distance * distance * count * other.count / total;
        mean += distance * other.count / total;
        count = total;
    }
};

// Returns the moments of one map in the used lanes. Two passes are fast, as the map is still in the cache.
Moments moments_of(const Vec* map, int pixels, Vec used, int lanes) {
    const double count = (double)pixels * lanes;
    const double mean = sum_lanes(sum_of(pixels, [&](int i) { return map[i]; }) * used) / count;
    const Vec squares = sum_of(pixels, [&](int i) {
        const Vec distance = map[i] - (float)mean;
        return distance * distance;
    });
    return {mean, sum_lanes(squares * used), count};
}

// Returns the dense convolutions, one for each group, over maps with the pitch of `maps`.
std::vector<Convolution> convolutions(const Layer& layer, const float* weight, const EdgedMaps& maps) {
    std::vector<Convolution> groups;
    for (int g = 0; g < layer.groups; ++g)
        groups.emplace_back(layer.in_group(), layer.out_group(), layer.kernel.height, layer.kernel.width, maps.plane(),
                            maps.pitch(), [&](int o, int i, int row, int column) {
                                return weight[layer.weight_index(g * layer.out_group() + o, i, row, column)];
                            });
    return groups;
}

// Convolves one block of images at a time.
class Forward {
   public:
    Forward(const Layer& layer, const float* depthwise_weight, const float* weight, const float* bias)
        : layer(layer),
          bias(bias),
          padded(input_maps(layer)),
          between{layer.out_height(), layer.out_width(), 0, 0},
          depthwise(layer.separable() ? depthwise_convolutions(layer, depthwise_weight, padded, false)
                                      : std::vector<Convolution>{}),
          groups(convolutions(layer, weight, layer.separable() ? between : padded)) {}

    // maps: scratch memory for the edged maps of the input.
    void run(const Source& source, int block, Vec* maps, Vec* y) const {
        if (layer.separable()) return run_separable(source, block, maps, y);
        const Vec* in = maps;
        if (layer.input.changes_nothing() && !layer.kernel.padding)
            in = source.map(block, 0);
        else
            for (int c = 0; c < layer.input.channels; ++c)
                source.read(block, c, maps + padded.inner(c), padded.pitch(), nullptr);
        for (int g = 0; g < layer.groups; ++g)
            groups[g].run(in + g * layer.in_group() * padded.plane(), bias ? bias + g * layer.out_group() : nullptr,
                          y + (size_t)g * layer.out_group() * layer.out_pixels(), layer.out_height(),
                          layer.out_width(), layer.out_width(), layer.out_pixels());
    }

    // Returns the number of edged maps that are needed at once.
    int maps_at_once() const { return layer.separable() ? 1 : layer.input.channels; }

    const EdgedMaps& input() const { return padded; }

   private:
    void run_separable(const Source& source, int block, Vec* map, Vec* y) const {
        const int pixels = layer.out_pixels();
        Vec* results = scratch(BETWEEN, (size_t)layer.input.channels * pixels);
        for (int c = 0; c < layer.input.channels; ++c) {
            source.read(block, c, map + padded.inner(0), padded.pitch(), nullptr);
            depthwise[c].run(map, nullptr, results + (size_t)c * pixels, layer.out_height(), layer.out_width(),
                             layer.out_width(), pixels);
        }
        for (int at = 0; at < pixels; at += STRIP)
            groups[0].run_row(results + at, bias, y + at, std::min(STRIP, pixels - at), pixels);
    }

    const Layer& layer;
    const float* bias;
    const EdgedMaps padded, between;
    const std::vector<Convolution> depthwise, groups;
};

// Computes the mean and 1 / standard deviation per channel from the moments of all blocks; updates the running ones.
void find_statistics(const Layer& layer, const std::vector<Moments>& moments, float* running_mean, float* running_var,
                     float* statistics) {
    const int channels = layer.out_channels;
    for (int c = 0; c < channels; ++c) {
        double mean = running_mean[c], variance = running_var[c];
        if (layer.batch_norm == BATCH) {
            Moments all_blocks;
            for (int block = 0; block < layer.blocks(); ++block) all_blocks.add(moments[(size_t)block * channels + c]);
            mean = all_blocks.mean;
            variance = all_blocks.squares / all_blocks.count;
            running_mean[c] += layer.momentum * ((float)mean - running_mean[c]);
            running_var[c] += layer.momentum * ((float)(all_blocks.squares / (all_blocks.count - 1)) - running_var[c]);
        }
        statistics[c] = (float)mean;
        statistics[channels + c] = (float)(1 / std::sqrt(variance + layer.epsilon));
    }
}

}  // namespace

extern "C" {

int32_t lanes() { return LANES; }

// Convolves x as layer.input reads it. Writes y, the convolution's result; z, the result after the activation, if there
// is one; and statistics, the mean and 1 / standard deviation of every channel of z, if there is batch norm.
// Returns 1 if memory ran out, else 0.
int32_t layer_forward(const Layer* l, const float* x, const float* in_statistics, const float* in_gamma,
                      const float* in_beta, const float* depthwise_weight, const float* weight, const float* bias,
                      float* running_mean, float* running_var, float* y, float* z, float* statistics, int32_t threads) {
    (void)threads;  // unused without OpenMP
    return OutOfMemory::check([&](OutOfMemory& memory) {
        const Layer& layer = *l;
        const Source source(layer.input, x, in_statistics, in_gamma, in_beta);
        const Forward forward(layer, depthwise_weight, weight, bias);
        const int channels = layer.out_channels, pixels = layer.out_pixels();
        std::vector<Moments> moments(layer.batch_norm == BATCH ? (size_t)layer.blocks() * channels : 0);
#pragma omp parallel num_threads(threads)
        {
            Vec* maps = nullptr;
            memory.guard([&] { maps = forward.input().make(READ, forward.maps_at_once()); });
#pragma omp for schedule(static)
            for (int block = 0; block < layer.blocks(); ++block)
                memory.guard([&] {
                    Vec* out = (Vec*)y + block * layer.out_block();
                    forward.run(source, block, maps, out);
                    if (layer.activation != IDENTITY) {
                        Vec* activated = (Vec*)z + block * layer.out_block();
                        with_activation(layer.activation, [&](auto activation) {
                            for (size_t i = 0; i < layer.out_block(); ++i)
                                activated[i] = activate<decltype(activation)::value>(out[i], layer.slope);
                        });
                        out = activated;
                    }
                    if (layer.batch_norm == BATCH)
                        for (int c = 0; c < channels; ++c)
                            moments[(size_t)block * channels + c] =
                                moments_of(out + (size_t)c * pixels, pixels, used_lanes(layer.input.images, block),
                                           lanes_in(layer.input.images, block));
                });
        }
        memory.guard([&] {
            if (layer.batch_norm != NONE) find_statistics(layer, moments, running_mean, running_var, statistics);
        });
    });
}

}  // extern "C"
