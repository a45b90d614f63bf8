// Dropout without a stored mask. Called from search/blocked.py.

#include "vectors.hpp"

extern "C" {

// z = x with every value set to 0 with probability p, the others divided by 1 - p. The same seed drops the same values,
// so the backward pass is this function again. Probabilities are rounded to 1 / 65536.
void dropout(const float* x, float* z, int64_t vectors, float p, uint64_t seed, int32_t threads) {
    (void)threads;  // unused without OpenMP
    const uint32_t limit = (uint32_t)(p * 65536.0f + 0.5f);
    const float scale = p < 1 ? 1 / (1 - p) : 0;
    UIntVec lane;
    for (int i = 0; i < LANES; ++i) lane[i] = (uint32_t)i;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t pair = 0; pair < (vectors + 1) / 2; ++pair) {
        // The 32-bit finalizer of MurmurHash3 (Appleby 2011) of a counter; each half of the bits decides over one
        // value.
        UIntVec bits = (lane + (uint32_t)pair * LANES) * 0x9e3779b1u + (uint32_t)seed;
        bits ^= bits >> 16;
        bits *= 0x85ebca6bu;
        bits ^= bits >> 13;
        bits *= 0xc2b2ae35u;
        bits ^= bits >> 16;
        bits ^= (uint32_t)(seed >> 32);
        const int64_t first = 2 * pair, second = first + 1;
        ((Vec*)z)[first] = select((IntVec)((bits & 0xffff) >= limit), ((const Vec*)x)[first] * scale, Vec{});
        if (second < vectors)
            ((Vec*)z)[second] = select((IntVec)((bits >> 16) >= limit), ((const Vec*)x)[second] * scale, Vec{});
    }
}

}  // extern "C"
