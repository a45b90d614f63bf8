// Max pooling of blocked maps. Called from search/blocked.py.

#include <cstring>

#include "vectors.hpp"

extern "C" {

// Max pooling with windows of size x size beside one another; what does not fill a window is left out.
void max_pool_forward(const float* x, float* z, int32_t planes, int32_t height, int32_t width, int32_t size,
                      int32_t threads) {
    (void)threads;  // unused without OpenMP
    const int rows = height / size, columns = width / size;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int plane = 0; plane < planes; ++plane)
        for (int row = 0; row < rows; ++row)
            for (int column = 0; column < columns; ++column) {
                const Vec* window = (const Vec*)x + ((size_t)plane * height + row * size) * width + column * size;
                Vec best = window[0];
                for (int i = 0; i < size; ++i)
                    for (int j = 0; j < size; ++j) {
                        const Vec value = window[(size_t)i * width + j];
                        best = select(value > best, value, best);
                    }
                ((Vec*)z)[((size_t)plane * rows + row) * columns + column] = best;
            }
}

// The gradient goes to the first of equal largest values.
void max_pool_backward(const float* x, const float* z, const float* dz, float* dx, int32_t planes, int32_t height,
                       int32_t width, int32_t size, int32_t threads) {
    (void)threads;  // unused without OpenMP
    const int rows = height / size, columns = width / size;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int plane = 0; plane < planes; ++plane) {
        if (height % size || width % size)
            std::memset((void*)((Vec*)dx + (size_t)plane * height * width), 0, sizeof(Vec) * height * width);
        for (int row = 0; row < rows; ++row)
            for (int column = 0; column < columns; ++column) {
                const size_t corner = ((size_t)plane * height + row * size) * width + column * size;
                const size_t at = ((size_t)plane * rows + row) * columns + column;
                const Vec best = ((const Vec*)z)[at];
                Vec left = ((const Vec*)dz)[at];
                for (int i = 0; i < size; ++i)
                    for (int j = 0; j < size; ++j) {
                        const size_t from = corner + (size_t)i * width + j;
                        const IntVec is_best = ((const Vec*)x)[from] == best;
                        ((Vec*)dx)[from] = select(is_best, left, Vec{});
                        left = select(is_best, Vec{}, left);
                    }
            }
    }
}

}  // extern "C"
