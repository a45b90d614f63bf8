// Backward pass of a layer.

#include "depthwise_gradients.hpp"
#include "layer.hpp"
#include "team.hpp"

// Number of parts of a batch whose gradients of the parameters are summed apart and then added in order, so that they
// do not depend on the number of threads.
constexpr int CHUNKS = 4;

// Computes the gradient of the convolution's results from the gradient of the layer's results. In between are the
// statistics of the batch norm, which depend on all results, and the activation before it.
class LayerBackward::Results {
   public:
    Results(const Operation& operation, const Value& output)
        : layer(operation.layer),
          output(output),
          y(layer.activation ? operation.unactivated : output.maps) {}

    // Writes the gradients of `height` rows of `width` results of one map, starting at `first`, to rows `pitch` apart.
    // Returns their sum.
    Vec gradient(int block, int channel, int first, int height, int width, Vec* to, int pitch) const {
        // Copies, which the compiler can keep in registers: for all it knows, `to` could point to the members.
        const size_t from = ((size_t)block * layer.out_channels + channel) * layer.out_pixels() + first;
        const Vec *y = this->y + from, *z = output.maps + from, *dz = output.gradients + from;
        const float slope = layer.slope;
        const Vec used = used_lanes(layer.input.images, block);
        float mean = 0, of_mean = 0, of_distance = 0;
        if (layer.batch_norm != NONE) {
            const double count = (double)layer.input.images * layer.out_pixels();
            const double inverse = output.statistics[layer.out_channels + channel];
            mean = output.statistics[channel];
            of_mean = (float)(output.dstatistics[channel] / count);
            of_distance =
                (float)(output.dstatistics[layer.out_channels + channel] * inverse * inverse * inverse / count);
        }
        Vec total{};
        with_activation(layer.activation, [=, &total](auto activation) {
            constexpr int A = decltype(activation)::value;
            Vec sum{};
            for (int row = 0; row < height; ++row)
                sum += sum_of(width, [=](int i) {
                    const size_t at = (size_t)row * width + i;
                    prefetch(dz + at);
                    prefetch(z + at);
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
    const Value& output;
    const Vec* y;
};

// Sums of the parameters' gradients over the blocks of one chunk: lane by lane, or of the weights at Winograd's points.
struct LayerBackward::Sums {
    Vec *depthwise, *bias, *weight;

    Sums(const Layer& layer, Vec* memory)
        : depthwise(memory),
          bias(memory + layer.input.channels * layer.depthwise.taps()),
          weight(bias + layer.out_channels) {}
};

LayerBackward::LayerBackward(const Operation& operation)
    : operation(operation),
      layer(operation.layer),
      padded(layer),
      edged(TurnedConvolution::gradient_maps(layer)),
      depthwise(layer),
      first_offsets(padded.offsets(layer.separable() ? 1 : layer.in_group())),
      of_maps((size_t)layer.blocks() * layer.input.channels),
      chunk_sums(n_parameters() * CHUNKS) {
    if (layer.separable()) {
        turned.assign(layer.input.channels, TurnedConvolution(layer, 1, 1));
        const std::vector<int32_t> offsets = tap_offsets(layer.out_group(), 1, 1, STRIP_PITCH, 0);
        turned_strip.assign(layer.groups, Convolution(layer.out_group(), layer.in_group(), 1, 1, offsets, 0));
        strip_offsets = tap_offsets(layer.in_group(), 1, 1, layer.out_pixels(), 0);
        return;
    }
    turned.assign(layer.groups, TurnedConvolution(layer, layer.in_group(), layer.out_group()));
    if (layer.kernel.height == 3 && layer.kernel.width == 3 && layer.kernel.stride == 1 &&
        WinogradGradients::pays(layer.in_group(), layer.out_group(), layer.out_height(), layer.out_width()))
        at_points.emplace(layer.in_group(), layer.out_group(), padded.plane(), padded.pitch(), edged.plane(),
                          edged.pitch(), layer.out_height(), layer.out_width());
}

size_t LayerBackward::n_parameters() const {
    return (size_t)layer.input.channels * layer.depthwise.taps() + layer.out_channels + n_weights();
}

// Returns the number of vectors of Sums.
size_t LayerBackward::n_sums() const {
    return n_parameters() - n_weights() + (at_points ? layer.groups * at_points->n_sums() : n_weights());
}

void LayerBackward::pack() {
    const Kernel& first = layer.first();
    if (layer.separable()) {
        depthwise.pack(operation.depthwise);
        for (int c = 0; c < layer.input.channels && !has_depthwise_gradients(first); ++c)
            turned[c].pack([&](int, int, int row, int column) {
                return operation.depthwise[c * first.taps() + row * first.width + column];
            });
        for (int g = 0; g < layer.groups; ++g)
            turned_strip[g].pack([&](int i, int o, int, int) {
                return operation.weight[layer.weight_index(g * layer.out_group() + o, i, 0, 0)];
            });
    } else {
        for (int g = 0; g < layer.groups; ++g)
            turned[g].pack([&](int o, int i, int row, int column) {
                return operation.weight[layer.weight_index(g * layer.out_group() + o, i, row, column)];
            });
    }
}

void LayerBackward::run(const Value& input, const Value& output, int threads, OutOfMemory& memory) {
    pack();
    const Source source(layer.input, input);
    const Results results(operation, output);
    const Pieces chunks(layer.blocks(), (layer.blocks() + CHUNKS - 1) / CHUNKS);
    const size_t n = n_sums();
    in_parallel(chunks.count, threads, memory, [&] {
        Vec* maps = padded.make(READ_MAPS, layer.separable() ? 1 : layer.input.channels);
        Vec* gradients = edged.make(GRADIENTS, layer.separable() ? 1 : layer.out_group());
        Vec* sums = scratch(PARAMETERS, n);
        return [&, maps, gradients, sums](int chunk) {
            std::memset((void*)sums, 0, sizeof(Vec) * n);
            for (int block = chunks.begin(chunk); block < chunks.begin(chunk + 1); ++block)
                run_block(source, results, block, maps, gradients, Sums(layer, sums));
            write_chunk(sums, chunk_sums.data() + chunk * n_parameters());
        };
    });
    add_parameters(chunks.count);
    if (layer.input.norm && operation.inputs[0].gradient) source.to_norm(of_maps.data());
}

// Writes the gradients of the parameters of one chunk from its sums.
void LayerBackward::write_chunk(const Vec* sums, float* of_chunk) const {
    const size_t n = at_points ? n_parameters() - n_weights() : n_parameters();
    for (size_t i = 0; i < n; ++i) of_chunk[i] = sum_lanes(sums[i]);
    for (int g = 0; at_points && g < layer.groups; ++g)
        at_points->write(sums + n + g * at_points->n_sums(), of_chunk + n + g * layer.out_group() * layer.taps());
}

// Adds the sums of all chunks to the gradients of the parameters, which other layers may share.
void LayerBackward::add_parameters(int chunks) {
    const size_t n = n_parameters();
    size_t first = 0;
    const auto add = [&](float* to, size_t count) {
        for (size_t i = 0; to && i < count; ++i) {
            float sum = 0;
            for (int chunk = 0; chunk < chunks; ++chunk) sum += chunk_sums[chunk * n + first + i];
            to[i] += sum;
        }
        first += count;
    };
    add(operation.ddepthwise, (size_t)layer.input.channels * layer.depthwise.taps());
    add(operation.dbias, layer.out_channels);
    add(operation.dweight, n_weights());
}

// Propagates the gradients of one block of images back to the input. maps, gradients: scratch memory for edged maps.
void LayerBackward::run_block(const Source& source, const Results& results, int block, Vec* maps, Vec* gradients,
                              Sums sums) {
    const int32_t wanted = operation.inputs[0].gradient;
    const size_t values = (size_t)layer.input.channels * layer.input.pixels();
    Vec* gradient = wanted ? source.gradient(block, 0) : nullptr;
    Vec* dx = wanted == ADD ? scratch(ADDED, values) : gradient;
    if (layer.separable())
        run_separable(source, results, block, maps, gradients, sums, dx);
    else
        run_dense(source, results, block, maps, gradients, sums, dx);
    for (size_t i = 0; wanted == ADD && i < values; ++i) gradient[i] += dx[i];
}

// Reads a map of the input to `map` unless its values can be used where they lie, and returns where it is. The slopes
// of the map are kept where its gradients, dx, overwrite them later; dx may be null.
const Vec* LayerBackward::read(const Source& source, int block, int channel, Vec* map, Vec* dx) const {
    if (padded.are_values(layer.input)) return source.map(block, channel);
    Vec* slopes = dx && layer.input.stores_slopes() ? dx + (size_t)channel * layer.input.pixels() : nullptr;
    padded.read(source, block, channel, map, slopes);
    return map;
}

void LayerBackward::run_dense(const Source& source, const Results& results, int block, Vec* maps, Vec* gradients,
                              Sums sums, Vec* dx) {
    const Vec* in = read(source, block, 0, maps, dx);
    for (int c = 1; c < layer.input.channels; ++c) read(source, block, c, maps + c * padded.plane(), dx);
    // One group at a time, because the maps of a depthwise group then stay in the first cache.
    for (int g = 0; g < layer.groups; ++g) {
        for (int o = 0; o < layer.out_group(); ++o) {
            sums.bias[g * layer.out_group() + o] +=
                results.gradient(block, layer.result(g, o), 0, layer.out_height(), layer.out_width(),
                                 gradients + edged.inner(o), edged.pitch());
        }
        const Vec* of_group = in + g * layer.in_group() * padded.plane();
        if (at_points)
            at_points->add(of_group, gradients + edged.inner(0), sums.weight + g * at_points->n_sums());
        else
            add_weight_gradients(of_group, first_offsets, padded.pitch(), gradients + edged.inner(0), edged.pitch(),
                                 edged.plane(), layer.out_group(), layer.out_height(), layer.out_width(),
                                 sums.weight + (size_t)g * layer.out_group() * layer.taps());
        if (dx) to_input(source, turned[g], gradients, block, g * layer.in_group(), layer.in_group(), dx);
    }
}

// Reads every map of the input twice: reading it again takes less time than keeping all maps of a block.
void LayerBackward::run_separable(const Source& source, const Results& results, int block, Vec* map, Vec* gradients,
                                  Sums sums, Vec* dx) {
    const int channels = layer.input.channels, pixels = layer.out_pixels();
    const int height = layer.out_height(), width = layer.out_width();
    Vec* between = scratch(BETWEEN, (size_t)channels * pixels);
    for (int c = 0; c < channels; ++c)
        depthwise[c].run(read(source, block, c, map, nullptr), nullptr, between + (size_t)c * pixels, height, width,
                         width, pixels);
    // Propagates through the 1x1 convolution, strip by strip; gradients overwrite the values before it.
    Vec* strip = scratch(STRIPS, (size_t)layer.out_group() * STRIP_PITCH);
    for (int at = 0; at < pixels; at += STRIP) {
        const int count = std::min(STRIP, pixels - at);
        for (int g = 0; g < layer.groups; ++g) {
            Vec* of_group = between + (size_t)g * layer.in_group() * pixels + at;
            for (int o = 0; o < layer.out_group(); ++o)
                sums.bias[g * layer.out_group() + o] +=
                    results.gradient(block, layer.result(g, o), at, 1, count, strip + o * STRIP_PITCH, 0);
            add_weight_gradients(of_group, strip_offsets, 0, strip, 0, STRIP_PITCH, layer.out_group(), 1, count,
                                 sums.weight + (size_t)g * layer.out_group() * layer.taps());
            turned_strip[g].run_row(strip, nullptr, of_group, count, pixels);
        }
    }
    for (int c = 0; c < channels; ++c) {
        for (int row = 0; row < height; ++row)
            std::memcpy((void*)(gradients + edged.inner(0) + (ptrdiff_t)row * edged.pitch()),
                        between + (size_t)c * pixels + (ptrdiff_t)row * width, sizeof(Vec) * width);
        Vec* of_weights = sums.depthwise + c * layer.depthwise.taps();
        if (dx && has_depthwise_gradients(layer.depthwise)) {
            run_depthwise(source, gradients, block, c, dx, of_weights);
            continue;
        }
        add_weight_gradients(read(source, block, c, map, dx), first_offsets, padded.pitch(),
                             gradients + edged.inner(0), edged.pitch(), 0, 1, height, width, of_weights);
        if (dx) to_input(source, turned[c], gradients, block, c, 1, dx);
    }
}

// Propagates through the depthwise convolution of one channel and the reading of its input, in strips of rows that stay
// in the first cache.
void LayerBackward::run_depthwise(const Source& source, const Vec* gradients, int block, int channel, Vec* dx,
                                  Vec* sums) {
    const Kernel& kernel = layer.depthwise;
    const int height = layer.in_height(), width = layer.in_width(), strip = std::max(1, STRIP / width);
    const bool direct = layer.input.changes_nothing();
    Vec *values = scratch(ROWS, (size_t)strip * width), *read = scratch(TURNED, (size_t)strip * width);
    Vec* of_values = dx + (size_t)channel * layer.input.pixels();
    const Vec* results = gradients + edged.inner(0) + (ptrdiff_t)kernel.padding * (edged.pitch() + 1);
    LaneSums of_map;
    for (int row = 0; row < height; row += strip) {
        const int rows = std::min(strip, height - row);
        source.read_rows(block, channel, row, rows, values, width, layer.input.stores_slopes() ? of_values : nullptr);
        add_depthwise_gradients(kernel, operation.depthwise + channel * kernel.taps(), values,
                                results + (ptrdiff_t)row * edged.pitch(), edged.pitch(), rows, width,
                                direct ? of_values + row * width : read, sums);
        if (!direct) source.rows_to_values(block, channel, row, rows, read, of_values, of_map);
    }
    if (!direct) of_maps[(size_t)block * layer.input.channels + channel] = of_map.total();
}

// Propagates through the first convolution to `count` maps of the input as they were read, then to their values.
void LayerBackward::to_input(const Source& source, const TurnedConvolution& turned, const Vec* gradients, int block,
                             int first, int count, Vec* dx) {
    const int pixels = layer.in_height() * layer.in_width();
    const bool direct = layer.input.changes_nothing();
    Vec* read = direct ? dx + (size_t)first * pixels : scratch(TURNED, (size_t)count * pixels);
    turned.run(gradients, read);
    for (int c = first; !direct && c < first + count; ++c)
        of_maps[(size_t)block * layer.input.channels + c] =
            source.to_values(block, c, read + (size_t)(c - first) * pixels, dx + (size_t)c * layer.input.pixels());
}
