// Reads values and computes the gradient of reading; also alone, if the next module is not a layer with a kernel.

#include "reading.hpp"

#include <cstring>

#include "scratch.hpp"
#include "team.hpp"

namespace {

// Normalises and activates values, and computes the derivatives of the activation unless `slopes` is null.
template <int A>
void activate_all(const Vec* x, int count, float scale, float shift, float slope, Vec* z, Vec* slopes) {
    if (slopes)
        for (int i = 0; i < count; ++i) {
            prefetch(x + i);
            prefetch_to_write(slopes + i);
            const Activated at = activate_with_slope<A>(x[i] * scale + shift, slope);
            z[i] = at.value;
            slopes[i] = at.slope;
        }
    else
        for (int i = 0; i < count; ++i) {
            prefetch(x + i);
            z[i] = activate<A>(x[i] * scale + shift, slope);
        }
}

// Sets every value to 0 with probability p and divides the others by 1 - p, and their slopes alike. The seed and the
// position determine the dropped values, so that nothing needs to be stored. Probabilities are rounded to 1 / 65536.
void drop(Vec* z, Vec* slopes, int count, float p, uint64_t seed, uint32_t position) {
    const uint32_t limit = (uint32_t)(p * 65536.0f + 0.5f);
    const float scale = p < 1 ? 1 / (1 - p) : 0;
    UIntVec lane;
    for (int i = 0; i < LANES; ++i) lane[i] = (uint32_t)i;
    UIntVec counter = (lane + position * LANES) * 0x9e3779b1u + (uint32_t)seed;
    for (int i = 0; i < count; i += 2, counter += LANES * 0x9e3779b1u) {
        // The 32-bit finalizer of MurmurHash3 (Appleby 2011) of a counter; each half of the bits decides on one
        // value.
        UIntVec bits = counter ^ counter >> 16;
        bits *= 0x85ebca6bu;
        bits ^= bits >> 13;
        bits *= 0xc2b2ae35u;
        bits ^= bits >> 16;
        bits ^= (uint32_t)(seed >> 32);
        for (int half = 0; half < 2 && i + half < count; ++half) {
            const Vec factor = select((IntVec)((half ? bits >> 16 : bits & 0xffff) >= limit), all(scale), Vec{});
            z[i + half] *= factor;
            if (slopes) slopes[i + half] *= factor;
        }
    }
}

// Computes the maximum over each window of `size` rows of `width` values. In each window, only the first of the largest
// values keeps its slope; the other slopes become 0. SIZE is `size` as a compile-time constant, or 0 for any size.
template <int SIZE>
void pool_rows(const Vec* z, int width, int size, Vec* to, Vec* slopes) {
    const int side = SIZE ? SIZE : size, windows = width / side;
    for (int window = 0; window < windows; ++window) {
        const int corner = window * side;
        Vec best = z[corner];
        for (int i = 0; i < side; ++i)
            for (int j = 0; j < side; ++j) {
                const Vec value = z[i * width + corner + j];
                best = select(value > best, value, best);
            }
        to[window] = best;
        if (!slopes) continue;
        IntVec left = best == best;
        for (int i = 0; i < side; ++i)
            for (int j = 0; j < side; ++j) {
                const int at = i * width + corner + j;
                const IntVec is_best = (z[at] == best) & left;
                slopes[at] = select(is_best, slopes[at], Vec{});
                left &= ~is_best;
            }
    }
    // The remaining columns belong to no window.
    if (slopes)
        for (int i = 0; i < side; ++i)
            for (int column = windows * side; column < width; ++column) slopes[i * width + column] = Vec{};
}

// Computes the mean over each window, as pool_rows the maximum.
void mean_rows(const Vec* z, int width, int side, Vec* to, Vec* slopes) {
    const int windows = width / side;
    const float share = 1.0f / (float)(side * side);
    for (int window = 0; window < windows; ++window) {
        Vec sum{};
        for (int i = 0; i < side; ++i)
            for (int j = 0; j < side; ++j) sum += z[i * width + window * side + j];
        to[window] = sum * share;
    }
    for (int i = 0; slopes && i < side; ++i)
        for (int column = 0; column < width; ++column)
            slopes[i * width + column] = column < windows * side ? slopes[i * width + column] * share : Vec{};
}

// Computes the gradients of values, whose normalised values have the gradients gradient_at(0), gradient_at(1), ...
template <class F>
void unpooled(const Vec* x, int count, float mean, float scale, Vec* gradient, LaneSums& total, F gradient_at) {
    // Two sums of each, because each step of a single sum would wait for the one before.
    Vec sums[2]{}, products[2]{};
    const auto add = [&](int i, int part) {
        prefetch(x + i);
        prefetch_to_write(gradient + i);
        const Vec g = gradient_at(i);
        sums[part] += g;
        products[part] += g * (x[i] - mean);
        gradient[i] = g * scale;
    };
    int i = 0;
    for (; i + 2 <= count; i += 2) {
        add(i, 0);
        add(i + 1, 1);
    }
    if (i < count) add(i, 0);
    total.gradients += sums[0] + sums[1];
    total.products += products[0] + products[1];
}

}  // namespace

void Source::read_rows(int block, int channel, int first, int n_rows, Vec* to, int pitch, Vec* slopes) const {
    const int size = reading.pool, width = reading.width, count = size * width, end = first + n_rows;
    const Vec* x = map(block, channel);
    const float scale = this->scale(channel), shift = this->shift(channel);
    const uint32_t row_positions = (width + 1) / 2;
    const uint32_t first_row = (block * reading.channels + channel) * reading.height;
    Vec* unpooled = size > 1 ? scratch(UNPOOLED, count) : nullptr;
    with_activation(reading.activation, [&](auto activation) {
        // As many rows at a time as a window has, so that they stay in the first cache until they are pooled.
        for (int row = first; row < end; ++row, to += pitch) {
            Vec *z = unpooled ? unpooled : to, *own = slopes ? slopes + row * count : nullptr;
            activate_all<decltype(activation)::value>(x + row * count, count, scale, shift, reading.slope, z, own);
            for (int i = 0; reading.drop > 0 && i < size; ++i)
                drop(z + i * width, own ? own + i * width : nullptr, width, reading.drop, reading.seed,
                     (first_row + row * size + i) * row_positions);
            if (size > 1 && reading.mean_pool)
                mean_rows(z, width, size, to, own);
            else if (size == 2)
                pool_rows<2>(z, width, size, to, own);
            else if (size > 1)
                pool_rows<0>(z, width, size, to, own);
        }
    });
    if (slopes && end == reading.out_height())
        std::memset((void*)(slopes + end * count), 0, sizeof(Vec) * (reading.height - end * size) * width);
}

void Source::rows_to_values(int block, int channel, int first, int n_rows, const Vec* dz, Vec* gradient,
                            LaneSums& sums) const {
    const int size = reading.pool, width = reading.width, used = reading.out_width() * size;
    const Vec* x = map(block, channel) + first * size * width;
    gradient += first * size * width;
    const float mean = this->mean(channel), scale = this->scale(channel);
    Vec sum{}, product{};
    const auto add = [&](Vec g, int at) {
        sum += g;
        product += g * (x[at] - mean);
        gradient[at] = g * scale;
    };
    if (size == 1) {
        const float shift = this->shift(channel), slope = reading.slope;
        const int count = n_rows * width;
        if (reading.stores_slopes())
            return unpooled(x, count, mean, scale, gradient, sums, [=](int i) { return dz[i] * gradient[i]; });
        return with_activation(reading.activation, [=, &sums](auto activation) {
            unpooled(x, count, mean, scale, gradient, sums, [=](int i) {
                return dz[i] * slope_at<decltype(activation)::value>(x[i] * scale + shift, slope);
            });
        });
    }
    // Outside the windows the slopes are 0, and so are the gradients.
    for (int row = 0; row < n_rows * size; ++row) {
        const Vec* of_row = dz + row / size * reading.out_width();
        for (int column = 0, window = 0; column < used; column += size, ++window)
            for (int i = 0; i < size; ++i)
                add(of_row[window] * gradient[row * width + column + i], row * width + column + i);
    }
    sums.gradients += sum;
    sums.products += product;
}

void Source::to_norm(const GradientSums* maps) const {
    for (int c = 0; c < reading.channels; ++c) {
        double gradients = 0, products = 0;
        for (int block = 0; block < reading.blocks(); ++block) {
            gradients += maps[(size_t)block * reading.channels + c].gradients;
            products += maps[(size_t)block * reading.channels + c].products;
        }
        value.dbeta[c] += (float)gradients;
        value.dgamma[c] += (float)(products * inverse(c));
        value.dstatistics[c] += (float)(-gradients * scale(c));
        value.dstatistics[reading.channels + c] += (float)(products * value.gamma[c]);
    }
}

void read_forward(const Source& source, Vec* z, int threads, OutOfMemory& memory) {
    const Reading& r = source.reading;
    each_in_parallel(r.blocks() * r.channels, threads, memory, [&](int map) {
        const int pixels = r.out_pixels();
        Vec* to = r.average ? scratch(READ_MAPS, pixels) : z + (size_t)map * pixels;
        source.read(map / r.channels, map % r.channels, to, r.out_width(), nullptr);
        if (r.average) z[map] = sum_of(pixels, [=](int i) { return to[i]; }) / (float)pixels;
    });
}

void read_backward(const Source& source, const Vec* dz, bool add, GradientSums* sums, int threads,
                   OutOfMemory& memory) {
    const Reading& r = source.reading;
    each_in_parallel(r.blocks() * r.channels, threads, memory, [&](int map) {
        const int block = map / r.channels, channel = map % r.channels, pixels = r.out_pixels();
        Vec* gradient = source.gradient(block, channel);
        Vec* to = add ? scratch(ADDED, r.pixels()) : gradient;
        if (r.stores_slopes()) source.read(block, channel, scratch(READ_MAPS, pixels), r.out_width(), to);
        const Vec* of_map = dz + (size_t)map * pixels;
        if (r.average) {
            Vec* spread = scratch(TURNED, pixels);
            std::fill_n(spread, pixels, dz[map] / (float)pixels);
            of_map = spread;
        }
        sums[map] = source.to_values(block, channel, of_map, to);
        if (add)
            for (int i = 0; i < r.pixels(); ++i) gradient[i] += to[i];
    });
    if (r.norm) source.to_norm(sums);
}
