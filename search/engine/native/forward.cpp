// Forward pass of a layer.

#include <cmath>

#include "layer.hpp"
#include "team.hpp"

namespace {

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

}  // namespace

LayerForward::LayerForward(const Operation& operation)
    : operation(operation),
      layer(operation.layer),
      padded(layer),
      depthwise(layer),
      moments(layer.batch_norm == BATCH ? (size_t)layer.blocks() * layer.out_channels : 0) {
    const int in = layer.in_group(), out = layer.out_group();
    if (layer.separable())
        pointwise.assign(layer.groups, Convolution(in, out, 1, 1, tap_offsets(in, 1, 1, layer.out_pixels(), 0), 0));
    else
        groups.assign(layer.groups, MapConvolution(in, out, layer.kernel.height, layer.kernel.width, padded.offsets(in),
                                                   padded.pitch(), layer.out_height(), layer.out_width()));
}

void LayerForward::pack() {
    for (int g = 0; g < layer.groups; ++g) {
        const auto weight_at = [&](int o, int i, int row, int column) {
            return operation.weight[layer.weight_index(g * layer.out_group() + o, i, row, column)];
        };
        if (layer.separable())
            pointwise[g].pack(weight_at);
        else
            groups[g].pack(weight_at);
    }
    if (layer.separable()) depthwise.pack(operation.depthwise);
}

void LayerForward::run(const Value& input, const Value& output, int threads, OutOfMemory& memory) {
    pack();
    const Source source(layer.input, input);
    const int channels = layer.out_channels, pixels = layer.out_pixels();
    in_parallel(layer.blocks(), threads, memory, [&] {
        Vec* maps = padded.make(READ_MAPS, layer.separable() ? 1 : layer.input.channels);
        return [&, maps](int block) {
            Vec* z = output.maps + block * layer.out_block();
            Vec* y = layer.activation ? operation.unactivated + block * layer.out_block() : z;
            run_block(source, block, maps, y);
            if (layer.activation)
                with_activation(layer.activation, [&](auto activation) {
                    for (size_t i = 0; i < layer.out_block(); ++i)
                        z[i] = activate<decltype(activation)::value>(y[i], layer.slope);
                });
            if (layer.batch_norm == BATCH)
                for (int c = 0; c < channels; ++c)
                    moments[(size_t)block * channels + c] =
                        moments_of(z + (size_t)c * pixels, pixels, used_lanes(layer.input.images, block),
                                   lanes_in(layer.input.images, block));
        };
    });
    if (layer.batch_norm != NONE) find_statistics(output.statistics);
}

// Convolves one block of images. maps: scratch memory for the edged maps of the input.
void LayerForward::run_block(const Source& source, int block, Vec* maps, Vec* y) const {
    if (layer.separable()) return run_separable(source, block, maps, y);
    const Vec* in = maps;
    if (padded.are_values(layer.input))
        in = source.map(block, 0);
    else
        for (int c = 0; c < layer.input.channels; ++c)
            padded.read(source, block, c, maps + c * padded.plane(), nullptr);
    for (int g = 0; g < layer.groups; ++g)
        groups[g].run(in + g * layer.in_group() * padded.plane(),
                      bias_of(g), y + (size_t)layer.result(g, 0) * layer.out_pixels(), layer.out_width(),
                      (ptrdiff_t)layer.result_step() * layer.out_pixels());
}

void LayerForward::run_separable(const Source& source, int block, Vec* map, Vec* y) const {
    const int pixels = layer.out_pixels();
    Vec* results = scratch(BETWEEN, (size_t)layer.input.channels * pixels);
    for (int c = 0; c < layer.input.channels; ++c) {
        padded.read(source, block, c, map, nullptr);
        depthwise[c].run(map, nullptr, results + (size_t)c * pixels, layer.out_height(), layer.out_width(),
                         layer.out_width(), pixels);
    }
    for (int at = 0; at < pixels; at += STRIP)
        for (int g = 0; g < layer.groups; ++g)
            pointwise[g].run_row(results + (size_t)g * layer.in_group() * pixels + at, bias_of(g),
                              y + (size_t)layer.result(g, 0) * pixels + at, std::min(STRIP, pixels - at),
                              (ptrdiff_t)layer.result_step() * pixels);
}

// Computes the mean and 1 / standard deviation per channel from the moments of all blocks; updates the running ones.
void LayerForward::find_statistics(float* statistics) const {
    const int channels = layer.out_channels;
    float *running_mean = operation.running_mean, *running_var = operation.running_var;
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
