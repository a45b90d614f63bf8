#include "input_maps.hpp"

InputMaps::InputMaps(const Layer& layer)
    : height(layer.in_height()),
      width(layer.in_width()),
      kernel_height(layer.first().height),
      kernel_width(layer.first().width),
      padding(layer.first().padding),
      stride(layer.first().stride),
      phase_height((height + 2 * padding + stride - 1) / stride),
      phase_width((width + 2 * padding + stride - 1) / stride) {}

std::vector<int32_t> InputMaps::offsets(int channels) const {
    std::vector<int32_t> offsets;
    for (int c = 0; c < channels; ++c)
        for (int row = 0; row < kernel_height; ++row)
            for (int column = 0; column < kernel_width; ++column) {
                const int phase = row % stride * stride + column % stride;
                offsets.push_back((int32_t)(c * plane() + (size_t)phase * phase_height * phase_width +
                                            row / stride * phase_width + column / stride));
            }
    return offsets;
}

Vec* InputMaps::make(Scratch slot, int count) const {
    Vec* maps = scratch(slot, count * plane());
    if (padding || stride > 1) std::memset((void*)maps, 0, sizeof(Vec) * count * plane());
    return maps;
}

void InputMaps::read(const Source& source, int block, int channel, Vec* map, Vec* slopes) const {
    if (stride == 1) return source.read(block, channel, map + padding * phase_width + padding, phase_width, slopes);
    Vec* values = scratch(PHASES, (size_t)height * width);
    source.read(block, channel, values, width, slopes);
    for (int y = padding; y < height + padding; ++y)
        for (int x = padding; x < width + padding; ++x) {
            const int phase = y % stride * stride + x % stride;
            map[((size_t)phase * phase_height + y / stride) * phase_width + x / stride] = *values++;
        }
}

TurnedConvolution::Part::Part(int first, int size, int kernel, int padding, int stride)
    : taps(std::max(0, (kernel - first + stride - 1) / stride)),
      start(std::max(0, (padding - first + stride - 1) / stride)),
      count(std::max(0, (size + padding - first + stride - 1) / stride - start)) {}

// Returns the edge that gradient maps need on both sides so that all parts find zeros there.
int TurnedConvolution::edge(int size, int results, int kernel, int padding, int stride) {
    int edge = 0;
    for (int first = 0; first < stride; ++first) {
        const Part part(first, size, kernel, padding, stride);
        if (part.taps && part.count)
            edge = std::max({edge, part.taps - 1 - part.start, part.start + part.count - results});
    }
    return edge;
}

EdgedMaps TurnedConvolution::gradient_maps(const Layer& layer) {
    if (layer.covers()) return {1, 1, 0, 0};
    const Kernel& k = layer.first();
    return {layer.out_height(), layer.out_width(),
            edge(layer.in_height(), layer.out_height(), k.height, k.padding, k.stride),
            edge(layer.in_width(), layer.out_width(), k.width, k.padding, k.stride)};
}

TurnedConvolution::TurnedConvolution(const Layer& layer, int channels, int results)
    : covers(layer.covers()),
      channels(channels),
      height(layer.in_height()),
      width(layer.in_width()),
      padding(layer.first().padding),
      stride(layer.first().stride),
      kernel_width(layer.first().width),
      taps(layer.first().taps()) {
    const EdgedMaps maps = gradient_maps(layer);
    const auto convolution = [&](int outputs, int rows, int columns, int height, int width) {
        const std::vector<int32_t> offsets = tap_offsets(results, rows, columns, maps.plane(), maps.pitch());
        return MapConvolution(results, outputs, rows, columns, offsets, maps.pitch(), height, width);
    };
    if (covers) {
        // Every weight leads to one value of the input: a 1x1 convolution to as many channels as there are values.
        phases.push_back({0, 0, 1, 1, 0, 0, 1, 1, 0, convolution(channels * taps, 1, 1, 1, 1)});
        return;
    }
    for (int row = 0; row < stride; ++row)
        for (int column = 0; column < stride; ++column) {
            const Part rows(row, height, layer.first().height, padding, stride);
            const Part columns(column, width, kernel_width, padding, stride);
            if (!rows.taps || !columns.taps || !rows.count || !columns.count) continue;
            const size_t corner = (size_t)(rows.start - (rows.taps - 1) + maps.rows) * maps.pitch() + columns.start -
                                  (columns.taps - 1) + maps.columns;
            phases.push_back({row, column, rows.taps, columns.taps, rows.start * stride + row - padding,
                              columns.start * stride + column - padding, rows.count, columns.count, corner,
                              convolution(channels, rows.taps, columns.taps, rows.count, columns.count)});
        }
}

void TurnedConvolution::run(const Vec* gradients, Vec* to) const {
    const size_t pixels = (size_t)height * width;
    if (covers) return phases[0].convolution.run(gradients, nullptr, to, 1, 1);
    if (stride == 1) {
        const Phase& phase = phases[0];
        return phase.convolution.run(gradients + phase.corner, nullptr, to, width, pixels);
    }
    std::memset((void*)to, 0, sizeof(Vec) * channels * pixels);
    for (const Phase& phase : phases) {
        const size_t count = (size_t)phase.height * phase.width;
        const Vec* from = scratch(PHASES, channels * count);
        phase.convolution.run(gradients + phase.corner, nullptr, (Vec*)from, phase.width, count);
        for (int c = 0; c < channels; ++c)
            for (int y = 0; y < phase.height; ++y)
                for (int x = 0; x < phase.width; ++x)
                    to[c * pixels + (size_t)(phase.first_row + y * stride) * width + phase.first_column + x * stride] =
                        *from++;
    }
}
