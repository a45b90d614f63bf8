// Backward pass of a layer, called from search/engine/native/ops.py.

#include "layer.hpp"
#include "out_of_memory.hpp"

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

// Computes the gradient of the convolution's results from the gradient of the layer's results. In between are the
// statistics of the batch norm, which depend on all results, and the activation before it.
class Results {
   public:
    Results(const Layer& layer, const float* y, const float* z, const float* statistics, const float* dz,
            const float* dstatistics)
        : layer(layer), y((const Vec*)y), z((const Vec*)z), dz((const Vec*)dz), statistics(statistics),
          dstatistics(dstatistics) {}

    // Writes the gradients of `height` rows of `width` results of one map, starting at `first`, to rows `pitch` apart.
    // Returns their sum.
    Vec gradient(int block, int channel, int first, int height, int width, Vec* to, int pitch) const {
        // Copies, which the compiler can keep in registers: for all it knows, `to` could point to the members.
        const size_t from = ((size_t)block * layer.out_channels + channel) * layer.out_pixels() + first;
        const Vec *y = this->y + from, *z = this->z + from, *dz = this->dz + from;
        const float slope = layer.slope;
        const Vec used = used_lanes(layer.input.images, block);
        float mean = 0, of_mean = 0, of_distance = 0;
        if (layer.batch_norm != NONE) {
            const double count = (double)layer.input.images * layer.out_pixels();
            const double inverse = statistics[layer.out_channels + channel];
            mean = statistics[channel];
            of_mean = (float)(dstatistics[channel] / count);
            of_distance = (float)(dstatistics[layer.out_channels + channel] * inverse * inverse * inverse / count);
        }
        Vec total{};
        with_activation(layer.activation, [=, &total](auto activation) {
            constexpr int A = decltype(activation)::value;
            Vec sum{};
            for (int row = 0; row < height; ++row)
                sum += sum_of(width, [=](int i) {
                    const size_t at = (size_t)row * width + i;
                    Vec d = (dz[at] + of_mean - (z[at] - mean) * of_distance) * used;
                    if (A != IDENTITY) d *= slope_at<A>(y[at], slope);
                    return to[(ptrdiff_t)row * pitch + i] = d;
                });
            total = sum;
        });
        return total;
    }

   private:
    const Layer& layer;
    const Vec *y, *z, *dz;
    const float *statistics, *dstatistics;
};

// Gradient maps with the edge of zeros that the convolution with the rotated kernel reads.
EdgedMaps gradient_maps(const Layer& layer) {
    const Kernel& kernel = layer.first();
    return {layer.out_height(), layer.out_width(), kernel.height - 1 - kernel.padding,
            kernel.width - 1 - kernel.padding};
}

// Dense convolutions that propagate gradients back, one for each group: channels exchanged, kernels rotated by 180
// degrees.
std::vector<Convolution> turned_convolutions(const Layer& layer, const float* weight, ptrdiff_t channel, int pitch) {
    const Kernel& kernel = layer.kernel;
    std::vector<Convolution> groups;
    for (int g = 0; g < layer.groups; ++g)
        groups.emplace_back(layer.out_group(), layer.in_group(), kernel.height, kernel.width, channel, pitch,
                            [&](int i, int o, int row, int column) {
                                return weight[layer.weight_index(g * layer.out_group() + o, i, kernel.height - 1 - row,
                                                                 kernel.width - 1 - column)];
                            });
    return groups;
}

// Sums of the parameters' gradients, lane by lane, over all blocks of one thread.
struct ParameterSums {
    Vec *depthwise, *weight, *bias;

    static size_t size(const Layer& layer) {
        return (size_t)layer.input.channels * layer.depthwise.taps() + (size_t)layer.out_channels * (layer.taps() + 1);
    }
    ParameterSums(const Layer& layer, Vec* memory)
        : depthwise(memory),
          weight(memory + layer.input.channels * layer.depthwise.taps()),
          bias(weight + (size_t)layer.out_channels * layer.taps()) {}
};

// Propagates the gradients of one block of images at a time back to the input.
class Backward {
   public:
    Backward(const Layer& layer, const float* depthwise_weight, const float* weight)
        : layer(layer), padded(input_maps(layer)), edged(gradient_maps(layer)) {
        if (layer.separable()) {
            depthwise = depthwise_convolutions(layer, depthwise_weight, padded, false);
            turned_depthwise = depthwise_convolutions(layer, depthwise_weight, edged, true);
            turned = turned_convolutions(layer, weight, STRIP_PITCH, 0);
            first_offsets = tap_offsets(1, layer.depthwise.height, layer.depthwise.width, 0, padded.pitch());
            strip_offsets = tap_offsets(layer.input.channels, 1, 1, layer.out_pixels(), 0);
        } else {
            turned = turned_convolutions(layer, weight, edged.plane(), edged.pitch());
            first_offsets = tap_offsets(layer.in_group(), layer.kernel.height, layer.kernel.width, padded.plane(),
                                        padded.pitch());
        }
    }

    // maps, gradients: scratch memory for edged maps. of_maps: sums over each map of dx. dx and of_maps may be null.
    void run(const Source& source, const Results& results, int block, Vec* maps, Vec* gradients, ParameterSums sums,
             Vec* dx, GradientSums* of_maps) const {
        const Vec* in = maps;
        if (layer.input.changes_nothing() && !layer.first().padding)
            in = source.map(block, 0);
        else
            for (int c = 0; c < layer.input.channels; ++c)
                source.read(block, c, maps + padded.inner(c), padded.pitch(), slopes(dx, c));
        if (layer.separable())
            run_separable(source, results, block, in, gradients, sums, dx, of_maps);
        else
            run_dense(source, results, block, in, gradients, sums, dx, of_maps);
    }

    int gradients_at_once() const { return layer.separable() ? 1 : layer.out_group(); }

    const Layer& layer;
    const EdgedMaps padded, edged;

   private:
    void run_dense(const Source& source, const Results& results, int block, const Vec* in, Vec* gradients,
                   ParameterSums sums, Vec* dx, GradientSums* of_maps) const {
        // One group at a time, because the maps of a depthwise group then stay in the first cache.
        for (int g = 0; g < layer.groups; ++g) {
            for (int o = 0; o < layer.out_group(); ++o) {
                const int c = g * layer.out_group() + o;
                sums.bias[c] += results.gradient(block, c, 0, layer.out_height(), layer.out_width(),
                                                 gradients + edged.inner(o), edged.pitch());
            }
            add_weight_gradients(in + g * layer.in_group() * padded.plane(), first_offsets, padded.pitch(),
                                 gradients + edged.inner(0), edged.pitch(), edged.plane(), layer.out_group(),
                                 layer.out_height(), layer.out_width(),
                                 sums.weight + (size_t)g * layer.out_group() * layer.taps());
            if (dx) to_input(source, turned[g], gradients, block, g * layer.in_group(), layer.in_group(), dx, of_maps);
        }
    }

    void run_separable(const Source& source, const Results& results, int block, const Vec* in, Vec* gradients,
                       ParameterSums sums, Vec* dx, GradientSums* of_maps) const {
        const int channels = layer.input.channels, pixels = layer.out_pixels();
        const int height = layer.out_height(), width = layer.out_width();
        Vec* between = scratch(BETWEEN, (size_t)channels * pixels);
        for (int c = 0; c < channels; ++c)
            depthwise[c].run(in + c * padded.plane(), nullptr, between + (size_t)c * pixels, height, width, width,
                             pixels);
        // Propagates through the 1x1 convolution, strip by strip; gradients overwrite the values before it.
        Vec* strip = scratch(STRIPS, (size_t)layer.out_channels * STRIP_PITCH);
        for (int at = 0; at < pixels; at += STRIP) {
            const int count = std::min(STRIP, pixels - at);
            for (int c = 0; c < layer.out_channels; ++c)
                sums.bias[c] += results.gradient(block, c, at, 1, count, strip + c * STRIP_PITCH, 0);
            add_weight_gradients(between + at, strip_offsets, 0, strip, 0, STRIP_PITCH, layer.out_channels, 1, count,
                                 sums.weight);
            turned[0].run_row(strip, nullptr, between + at, count, pixels);
        }
        for (int c = 0; c < channels; ++c) {
            for (int row = 0; row < height; ++row)
                std::memcpy((void*)(gradients + edged.inner(0) + (ptrdiff_t)row * edged.pitch()),
                            between + (size_t)c * pixels + (ptrdiff_t)row * width, sizeof(Vec) * width);
            add_weight_gradients(in + c * padded.plane(), first_offsets, padded.pitch(), gradients + edged.inner(0),
                                 edged.pitch(), 0, 1, height, width, sums.depthwise + c * layer.depthwise.taps());
            if (dx) to_input(source, turned_depthwise[c], gradients, block, c, 1, dx, of_maps);
        }
    }

    // Propagates through the first convolution to `count` maps of the input as they were read, then to their values.
    void to_input(const Source& source, const Convolution& turned, const Vec* gradients, int block, int first,
                  int count, Vec* dx, GradientSums* of_maps) const {
        const int height = layer.in_height(), width = layer.in_width(), pixels = height * width;
        const bool direct = layer.input.changes_nothing();
        Vec* read = direct ? dx + (size_t)first * pixels : scratch(TURNED, (size_t)count * pixels);
        turned.run(gradients, nullptr, read, height, width, width, pixels);
        for (int c = first; !direct && c < first + count; ++c)
            of_maps[c] = source.to_values(block, c, read + (size_t)(c - first) * pixels,
                                          dx + (size_t)c * layer.input.pixels());
    }

    // Returns the memory for the slopes of one map of the input, which its gradients overwrite later.
    Vec* slopes(Vec* dx, int channel) const {
        return dx && layer.input.has_slopes() ? dx + (size_t)channel * layer.input.pixels() : nullptr;
    }

    std::vector<Convolution> depthwise, turned_depthwise, turned;
    std::vector<int32_t> first_offsets, strip_offsets;
};

}  // namespace

extern "C" {

// Computes the gradients of the layer's input and parameters from dz and dstatistics, the gradients of its result and
// of its statistics. x to statistics are as in layer_forward. dx and dbias may be null; without dx the input has no
// norm. Returns 1 if memory ran out, else 0.
int32_t layer_backward(const Layer* l, const float* x, const float* in_statistics, const float* in_gamma,
                       const float* in_beta, const float* depthwise_weight, const float* weight, const float* y,
                       const float* z, const float* statistics, const float* dz, const float* dstatistics, float* dx,
                       float* din_statistics, float* din_gamma, float* din_beta, float* ddepthwise_weight,
                       float* dweight, float* dbias, int32_t threads) {
    return OutOfMemory::check([&](OutOfMemory& memory) {
        const Layer& layer = *l;
        const Source source(layer.input, x, in_statistics, in_gamma, in_beta);
        const Results results(layer, y, z, statistics, dz, dstatistics);
        const Backward backward(layer, depthwise_weight, weight);
        const int in_channels = layer.input.channels;
        std::vector<GradientSums> of_maps((size_t)layer.blocks() * in_channels);
        // Every thread sums over its blocks; at the end the sums of the threads are added in order.
        const size_t n_sums = ParameterSums::size(layer);
        std::vector<Vec> sums(n_sums * threads);
#pragma omp parallel num_threads(threads)
        {
            Vec *maps = nullptr, *gradients = nullptr;
            memory.guard([&] {
                maps = backward.padded.make(READ, in_channels);
                gradients = backward.edged.make(GRADIENTS, backward.gradients_at_once());
            });
#pragma omp for schedule(static)
            for (int block = 0; block < layer.blocks(); ++block)
                memory.guard([&] {
                    backward.run(source, results, block, maps, gradients,
                                 ParameterSums(layer, sums.data() + n_sums * thread_number()),
                                 dx ? (Vec*)dx + (size_t)block * in_channels * layer.input.pixels() : nullptr,
                                 of_maps.data() + (size_t)block * in_channels);
                });
        }
        memory.guard([&] {
            if (layer.input.norm) source.to_norm(of_maps.data(), din_statistics, din_gamma, din_beta);
            const auto add_up = [&](Vec* ParameterSums::*which, float* to, int count) {
                for (int i = 0; i < count; ++i) to[i] = 0;
                for (int thread = 0; thread < threads; ++thread) {
                    const ParameterSums own(layer, sums.data() + n_sums * thread);
                    for (int i = 0; i < count; ++i) to[i] += sum_lanes((own.*which)[i]);
                }
            };
            add_up(&ParameterSums::depthwise, ddepthwise_weight, in_channels * layer.depthwise.taps());
            add_up(&ParameterSums::weight, dweight, layer.out_channels * layer.taps());
            if (dbias) add_up(&ParameterSums::bias, dbias, layer.out_channels);
        });
    });
}

}  // extern "C"
