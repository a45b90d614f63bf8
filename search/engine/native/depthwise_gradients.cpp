// An input contributes to as many results as the kernel has weights. Their gradients are multiplied by the input, for the
// weights, and by the weights, for the input. Doing both at once loads them once and keeps the sums in registers.

#include "depthwise_gradients.hpp"

namespace {

// The gradients through H rows of the kernel. ADD: add to those of the input that are there.
template <int H, int W, bool ADD>
void add_gradients(const float* weight, const Vec* x, const Vec* results, int pitch, int rows, int width, Vec* to,
                   Vec* sums) {
    Vec w[H][W], sum[H][W];
    UNROLL
    for (int i = 0; i < H; ++i) UNROLL
    for (int j = 0; j < W; ++j) {
        w[i][j] = all(weight[i * W + j]);
        sum[i][j] = sums[i * W + j];
    }
    for (int row = 0; row < rows; ++row, results += pitch, x += width, to += width)
        for (int column = 0; column < width; ++column) {
            Vec value = x[column], gradients[H]{};
            IN_REGISTER(value);
            UNROLL
            for (int i = 0; i < H; ++i) UNROLL
            for (int j = 0; j < W; ++j) {
                Vec gradient = results[column - i * pitch - j];
                IN_REGISTER(gradient);
                sum[i][j] += value * gradient;
                gradients[i] += w[i][j] * gradient;
            }
            Vec total = ADD ? to[column] + gradients[0] : gradients[0];
            UNROLL
            for (int i = 1; i < H; ++i) total += gradients[i];
            to[column] = total;
        }
    UNROLL
    for (int i = 0; i < H; ++i) UNROLL
    for (int j = 0; j < W; ++j) sums[i * W + j] = sum[i][j];
}

// Goes through the kernel row by row, because the sums of larger kernels do not fit in the registers.
template <int W>
void add_gradients_by_rows(int height, const float* weight, const Vec* x, const Vec* results, int pitch, int rows,
                           int width, Vec* to, Vec* sums) {
    add_gradients<1, W, false>(weight, x, results, pitch, rows, width, to, sums);
    for (int i = 1; i < height; ++i)
        add_gradients<1, W, true>(weight + i * W, x, results - (ptrdiff_t)i * pitch, pitch, rows, width, to,
                                  sums + i * W);
}

}  // namespace

bool has_depthwise_gradients(const Kernel& k) { return k.stride == 1 && (k.width == 3 || k.width == 5 || k.width == 7); }

void add_depthwise_gradients(const Kernel& kernel, const float* weight, const Vec* x, const Vec* results, int pitch,
                             int rows, int width, Vec* to, Vec* sums) {
    if (kernel.width == 3 && kernel.height == 3 && REGISTERS >= 32)
        add_gradients<3, 3, false>(weight, x, results, pitch, rows, width, to, sums);
    else if (kernel.width == 3)
        add_gradients_by_rows<3>(kernel.height, weight, x, results, pitch, rows, width, to, sums);
    else if (kernel.width == 5)
        add_gradients_by_rows<5>(kernel.height, weight, x, results, pitch, rows, width, to, sums);
    else
        add_gradients_by_rows<7>(kernel.height, weight, x, results, pitch, rows, width, to, sums);
}
