#include "matrices.hpp"

#include "scratch.hpp"

namespace {

constexpr int TILE_ROWS = REGISTERS / 4, TILE_VECTORS = 2;

// Multiplies N rows of `left` by the panel, which has TILE_VECTORS vectors for every inner index.
template <int N>
void multiply_rows(const Matrix& left, const Vec* panel, int inner, int columns, float* to, int width, float kept,
                   float factor) {
    Vec sums[N][TILE_VECTORS] = {};
    const float* at = left.values;
    for (int k = 0; k < inner; ++k, panel += TILE_VECTORS, at += left.column) UNROLL
        for (int i = 0; i < N; ++i) {
            const Vec value = all(at[i * left.row]);
            UNROLL
            for (int v = 0; v < TILE_VECTORS; ++v) sums[i][v] += value * panel[v];
        }
    for (int i = 0; i < N; ++i, to += width) {
        float results[TILE_VECTORS * LANES];
        std::memcpy(results, sums[i], sizeof results);
        if (kept == 0)
            for (int j = 0; j < columns; ++j) to[j] = factor * results[j];
        else
            for (int j = 0; j < columns; ++j) to[j] = kept * to[j] + factor * results[j];
    }
}

template <int N>
void multiply_few_rows(int n, const Matrix& left, const Vec* panel, int inner, int columns, float* to, int width,
                       float kept, float factor) {
    if (n == N) return multiply_rows<N>(left, panel, inner, columns, to, width, kept, factor);
    if constexpr (N > 1) multiply_few_rows<N - 1>(n, left, panel, inner, columns, to, width, kept, factor);
}

}  // namespace

void multiply(const Matrix& left, const Matrix& right, int rows, int inner, int columns, float* to, float kept,
              float factor) {
    constexpr int WIDTH = TILE_VECTORS * LANES;
    Vec* panel = scratch(PANEL, (size_t)inner * TILE_VECTORS);
    for (int first = 0; first < columns; first += WIDTH) {
        const int count = std::min(WIDTH, columns - first);
        float* packed = (float*)panel;
        for (int k = 0; k < inner; ++k, packed += WIDTH) {
            const float* from = right.values + k * right.row + first * right.column;
            for (int j = 0; j < count; ++j) packed[j] = from[j * right.column];
            for (int j = count; j < WIDTH; ++j) packed[j] = 0;
        }
        for (int row = 0; row < rows; row += TILE_ROWS) {
            const Matrix part(left.values + row * left.row, left.row, left.column);
            multiply_few_rows<TILE_ROWS>(std::min(TILE_ROWS, rows - row), part, panel, inner, count,
                                         to + (ptrdiff_t)row * columns + first, columns, kept, factor);
        }
    }
}
