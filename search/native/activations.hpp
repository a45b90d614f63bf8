// Activations and their derivatives, of whole vectors. NaN stays NaN, so that a training that diverges is seen.

#pragma once

#include "vectors.hpp"

enum Activation : int32_t { IDENTITY, RELU, LEAKY_RELU, SILU, HARDSWISH };

// exp to about 2 units in the last place: 2^n times a Taylor polynomial of degree 6 on |r| <= ln(2) / 2.
inline Vec exponential(Vec x) {
    x = select(x < -87.0f, all(-87.0f), select(x > 88.0f, all(88.0f), x));
    const Vec magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    const Vec n = (x * 1.44269504f + magic) - magic;
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln(2) in two parts
    Vec p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return (Vec)((IntVec)p + (__builtin_convertvector(n, IntVec) << 23));
}

template <int ACTIVATION>
Vec activate(Vec x, float slope) {
    if constexpr (ACTIVATION == RELU) return select(x < 0.0f, Vec{}, x);  // NaN stays NaN, so that divergence is seen
    if constexpr (ACTIVATION == LEAKY_RELU) return select(x > 0.0f, x, x * slope);
    if constexpr (ACTIVATION == SILU) return x / (1.0f + exponential(-x));
    if constexpr (ACTIVATION == HARDSWISH)
        return select(x <= -3.0f, Vec{}, select(x >= 3.0f, x, x * (x + 3.0f) / 6.0f));
    return x;
}

// Derivative at x.
template <int ACTIVATION>
Vec slope_at(Vec x, float slope) {
    if constexpr (ACTIVATION == RELU) return select(x > 0.0f, all(1.0f), Vec{});
    if constexpr (ACTIVATION == LEAKY_RELU) return select(x > 0.0f, all(1.0f), all(slope));
    if constexpr (ACTIVATION == SILU) {
        const Vec s = 1.0f / (1.0f + exponential(-x));
        return s * (1.0f + x * (1.0f - s));
    }
    if constexpr (ACTIVATION == HARDSWISH)
        return select(x <= -3.0f, Vec{}, select(x >= 3.0f, all(1.0f), x / 3.0f + 0.5f));
    return all(1.0f);
}
