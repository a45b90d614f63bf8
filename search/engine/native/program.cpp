// Runs the operations of a program, and those of them that are no layers.

#include "program.hpp"

#include "team.hpp"

Program::Program(const Operation* first_operation, int n_operations, const Value* first_value, int n_values)
    : operations(first_operation, first_operation + n_operations),
      values(first_value, first_value + n_values),
      forwards(n_operations),
      backwards(n_operations) {
    size_t most_maps = 0;
    for (int i = 0; i < n_operations; ++i) {
        const Operation& operation = operations[i];
        const Reading& read = operation.layer.input;
        most_maps = std::max(most_maps, (size_t)read.blocks() * read.channels);
        if (operation.kind == SUM)
            most_maps = std::max(most_maps, (size_t)read.blocks() * operation.second_reading.channels);
        if (operation.kind != CONVOLVE) continue;
        forwards[i].reset(new LayerForward(operation));
        if (values[operation.output].gradients) backwards[i].reset(new LayerBackward(operation));
    }
    map_sums.resize(most_maps);
    const Operation& last = operations.back();
    n_last_channels =
        last.kind == CONVOLVE || last.kind == SCALE ? last.layer.out_channels : last.layer.input.channels;
}

void Program::set_batch(int images, const uint64_t* seeds) {
    for (Operation& operation : operations) {
        operation.layer.input.images = operation.second_reading.images = images;
        if (operation.inputs[0].dropout >= 0) operation.layer.input.seed = seeds[operation.inputs[0].dropout];
        if (operation.inputs[1].dropout >= 0) operation.second_reading.seed = seeds[operation.inputs[1].dropout];
    }
}

void Program::forward(int threads, OutOfMemory& memory) {
    for (size_t i = 0; i < operations.size(); ++i) {
        const Operation& operation = operations[i];
        const Value& output = values[operation.output];
        const Source source(operation.layer.input, input_of(operation, 0));
        switch (operation.kind) {
            case CONVOLVE: forwards[i]->run(source.value, output, threads, memory); break;
            case READ: read_forward(source, output.maps, threads, memory); break;
            case SUM:
                sum_forward(source, {operation.second_reading, input_of(operation, 1)}, output.maps, threads, memory);
                break;
            case SCALE: scale_forward(source, operation.layer.out_channels, *operation.weight, output.maps); break;
            case GATE:
                gate_forward(source, {operation.second_reading, input_of(operation, 1)}, output.maps, threads, memory);
                break;
        }
    }
}

void Program::backward(int threads, OutOfMemory& memory) {
    for (size_t i = operations.size(); i-- > 0;) {
        const Operation& operation = operations[i];
        const Value& output = values[operation.output];
        const Source source(operation.layer.input, input_of(operation, 0));
        const auto read_back = [&](const Source& from, int32_t gradient) {
            if (gradient) read_backward(from, output.gradients, gradient == ADD, map_sums.data(), threads, memory);
        };
        switch (operation.kind) {
            case CONVOLVE: backwards[i]->run(source.value, output, threads, memory); break;
            case READ: read_back(source, operation.inputs[0].gradient); break;
            case SUM:
                read_back(source, operation.inputs[0].gradient);
                read_back({operation.second_reading, input_of(operation, 1)}, operation.inputs[1].gradient);
                break;
            case SCALE:
                scale_backward(source, operation.layer.out_channels, *operation.weight, output.gradients,
                               operation.dweight);
                break;
            case GATE:
                gate_backward(source, {operation.second_reading, input_of(operation, 1)}, output.gradients,
                              operation.inputs[0].gradient, map_sums.data(), threads, memory);
                break;
        }
    }
}

void sum_forward(const Source& first, const Source& second, Vec* z, int threads, OutOfMemory& memory) {
    const Reading& r = first.reading;
    each_in_parallel(r.blocks() * r.channels, threads, memory, [&](int map) {
        const int block = map / r.channels, channel = map % r.channels, pixels = r.out_pixels();
        Vec *to = z + (size_t)map * pixels, *addend = scratch(READ_MAPS, pixels);
        first.read(block, channel, to, r.out_width(), nullptr);
        second.read(block, channel, addend, r.out_width(), nullptr);
        for (int i = 0; i < pixels; ++i) to[i] += addend[i];
    });
}

void scale_forward(const Source& source, int channels, float factor, Vec* z) {
    for (int block = 0; block < source.reading.blocks(); ++block)
        for (int c = 0; c < channels; ++c) z[(size_t)block * channels + c] = *source.map(block, c) * factor;
}

void scale_backward(const Source& source, int channels, float factor, const Vec* dz, float* dfactor) {
    for (int block = 0; block < source.reading.blocks(); ++block) {
        const Vec used = used_lanes(source.reading.images, block);
        for (int c = 0; c < source.reading.channels; ++c) {
            const Vec d = c < channels ? dz[(size_t)block * channels + c] : Vec{};
            *source.gradient(block, c) = d * factor;
            *dfactor += sum_lanes(d * *source.map(block, c) * used);
        }
    }
}

void gate_forward(const Source& source, const Source& gates, Vec* z, int threads, OutOfMemory& memory) {
    const Reading& r = source.reading;
    each_in_parallel(r.blocks() * r.channels, threads, memory, [&](int map) {
        const int block = map / r.channels, channel = map % r.channels, pixels = r.out_pixels();
        Vec *to = z + (size_t)map * pixels, gate;
        gates.read(block, channel, &gate, 1, nullptr);
        source.read(block, channel, to, r.out_width(), nullptr);
        for (int i = 0; i < pixels; ++i) to[i] *= gate;
    });
}

void gate_backward(const Source& source, const Source& gates, const Vec* dz, int32_t use, GradientSums* sums,
                   int threads, OutOfMemory& memory) {
    const Reading& r = source.reading;
    each_in_parallel(r.blocks() * r.channels, threads, memory, [&](int map) {
        const int block = map / r.channels, channel = map % r.channels, pixels = r.out_pixels();
        Vec* gradient = use ? source.gradient(block, channel) : nullptr;
        Vec* to = use == ADD ? scratch(ADDED, r.pixels()) : gradient;
        Vec *read = scratch(READ_MAPS, pixels), *of_gate = gates.gradient(block, channel), gate;
        source.read(block, channel, read, r.out_width(), to && r.stores_slopes() ? to : nullptr);
        gates.read(block, channel, &gate, 1, of_gate);  // keeps the slope where its gradient overwrites it
        const Vec* of_map = dz + (size_t)map * pixels;
        const Vec of_product = sum_of(pixels, [=](int i) { return of_map[i] * read[i]; });
        gates.to_values(block, channel, &of_product, of_gate);
        if (!use) return;
        for (int i = 0; i < pixels; ++i) read[i] = of_map[i] * gate;
        sums[map] = source.to_values(block, channel, read, to);
        if (use == ADD)
            for (int i = 0; i < r.pixels(); ++i) gradient[i] += to[i];
    });
    if (r.norm && use) source.to_norm(sums);
}
