// Vectors of LANES floats, one for every image of a block.
//
// The channel counts of tiny networks do not fill a vector register, so the lanes of a register are images: a batch is
// stored in blocks of LANES images as [block][channel][row][column][image]. Every loop then uses all lanes, whatever
// the width, map size or kernel, and a convolution multiplies a broadcast weight by a vector of images. A batch that
// does not fill its last block has idle lanes there, which are excluded from all sums.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

typedef float Vec __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t IntVec __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint32_t UIntVec __attribute__((vector_size(LANES * sizeof(uint32_t))));

// Otherwise GCC would load a vector again for every product that uses it.
#if defined(__x86_64__) && !defined(__clang__)
#define IN_REGISTER(vector) asm("" : "+v"(vector))
#else
#define IN_REGISTER(vector) (void)(vector)
#endif

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

inline Vec all(float value) { return value - Vec{}; }

inline float sum_lanes(Vec values) {
    typedef float Quarter __attribute__((vector_size(4 * sizeof(float))));
    Quarter parts[LANES / 4];
    std::memcpy(parts, &values, sizeof values);
    Quarter sum = parts[0];
    UNROLL
    for (int i = 1; i < LANES / 4; ++i) sum += parts[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

inline int lanes_in(int images, int block) { return std::min(LANES, images - block * LANES); }

// Returns 1 in the lanes that hold an image and 0 in the idle ones.
inline Vec used_lanes(int images, int block) {
    Vec mask{};
    for (int lane = 0; lane < lanes_in(images, block); ++lane) mask[lane] = 1;
    return mask;
}

// Asks for the vector that a loop over vectors comes to in a while. Activations of a whole batch do not fit the cache
// near the core, and the processor does not see far enough ahead itself.
inline void prefetch(const Vec* at) { __builtin_prefetch(at + 48); }
inline void prefetch_to_write(const Vec* at) { __builtin_prefetch(at + 48, 1); }

inline Vec select(IntVec condition, Vec yes, Vec no) { return condition ? yes : no; }

// Returns f(0) + f(1) + ..., with four partial sums, because each step of a single sum would wait for the one before.
template <class F>
Vec sum_of(int count, F f) {
    Vec sums[4]{};
    int i = 0;
    for (; i + 4 <= count; i += 4) UNROLL
        for (int j = 0; j < 4; ++j) sums[j] += f(i + j);
    for (; i < count; ++i) sums[0] += f(i);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}
