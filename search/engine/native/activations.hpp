// Activations and their derivatives for whole vectors. NaN stays NaN, so that a diverging training is noticed.

#pragma once

#include <type_traits>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "vectors.hpp"

// The first three are the CHEAP_ACTIVATIONS of operation.hpp.
enum Activation : int32_t { IDENTITY, RELU, LEAKY_RELU, SILU, HARDSWISH, GELU, HARDSIGMOID };

// Smaller and larger of two values, lane by lane; NaN where x is NaN. Forms with a mask, because g++ warns of its own
// header for the others.
#if defined(__AVX512F__)
constexpr __mmask16 ALL_LANES = 0xffff;
inline Vec smallest(Vec limit, Vec x) { return (Vec)_mm512_maskz_min_ps(ALL_LANES, (__m512)limit, (__m512)x); }
inline Vec largest(Vec limit, Vec x) { return (Vec)_mm512_maskz_max_ps(ALL_LANES, (__m512)limit, (__m512)x); }
#else
inline Vec smallest(Vec limit, Vec x) { return select(x > limit, limit, x); }
inline Vec largest(Vec limit, Vec x) { return select(x < limit, limit, x); }
#endif

// Rounds values within +-2^22 to the nearest whole number.
inline Vec nearest(Vec x) {
#if defined(__AVX512F__)
    return (Vec)_mm512_maskz_roundscale_ps(ALL_LANES, (__m512)x, 0);
#else
    const Vec magic = all(12582912.0f);  // 1.5 * 2^23, where neighbouring numbers are 1 apart
    return (x + magic) - magic;
#endif
}

// Returns x * 2^n for whole numbers n.
inline Vec times_power_of_two(Vec x, Vec n) {
#if defined(__AVX512F__)
    return (Vec)_mm512_maskz_scalef_ps(ALL_LANES, (__m512)x, (__m512)n);
#else
    return (Vec)((IntVec)x + (__builtin_convertvector(n, IntVec) << 23));
#endif
}

// Returns exp(x) to about 2 units in the last place: 2^n times a Taylor polynomial of degree 6 on |r| <= ln(2) / 2.
inline Vec exponential(Vec x) {
    x = largest(all(-87.0f), smallest(all(88.0f), x));
    const Vec n = nearest(x * 1.44269504f);
    const Vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln(2) in two parts
    Vec p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return times_power_of_two(p, n);
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }

// Returns erfc(x / sqrt(2)) / 2 for x >= 0, the share of the normal distribution above x, to 2e-7 of its value.
// Numerical Recipes (Press et al.), section 6.2, erfccheb: exp(-z^2) times a polynomial of 1 / (1 + z / 2).
inline Vec normal_tail(Vec x) {
    const Vec z = x * 0.70710678f, t = 1.0f / (1.0f + 0.5f * z);
    Vec p = t * 0.17087277f - 0.82215223f;
    p = p * t + 1.48851587f;
    p = p * t - 1.13520398f;
    p = p * t + 0.27886807f;
    p = p * t - 0.18628806f;
    p = p * t + 0.09678418f;
    p = p * t + 0.37409196f;
    p = p * t + 1.00002368f;
    p = p * t - 1.26551223f;
    return 0.5f * t * exponential(p - z * z);
}

// Returns the share of the normal distribution below x.
inline Vec normal_share(Vec x) {
    const Vec tail = normal_tail(select(x < 0.0f, -x, x));
    return select(x < 0.0f, tail, 1.0f - tail);
}

inline Vec normal_density(Vec x) { return 0.39894228f * exponential(-0.5f * x * x); }

template <int ACTIVATION>
Vec activate(Vec x, float slope) {
    if constexpr (ACTIVATION == RELU) return select(x < 0.0f, Vec{}, x);  // keeps NaN
    if constexpr (ACTIVATION == LEAKY_RELU) return select(x > 0.0f, x, x * slope);
    if constexpr (ACTIVATION == SILU) return x * sigmoid(x);
    if constexpr (ACTIVATION == HARDSWISH)
        return select(x <= -3.0f, Vec{}, select(x >= 3.0f, x, x * (x + 3.0f) / 6.0f));
    if constexpr (ACTIVATION == GELU) return x * normal_share(x);
    if constexpr (ACTIVATION == HARDSIGMOID) return largest(Vec{}, smallest(all(1.0f), (x + 3.0f) / 6.0f));
    return x;
}

// Returns the derivative of the activation at x.
template <int ACTIVATION>
Vec slope_at(Vec x, float slope) {
    if constexpr (ACTIVATION == RELU) return select(x > 0.0f, all(1.0f), Vec{});
    if constexpr (ACTIVATION == LEAKY_RELU) return select(x > 0.0f, all(1.0f), all(slope));
    if constexpr (ACTIVATION == SILU) {
        const Vec s = sigmoid(x);
        return s * (1.0f + x * (1.0f - s));
    }
    if constexpr (ACTIVATION == HARDSWISH)
        return select(x <= -3.0f, Vec{}, select(x >= 3.0f, all(1.0f), x / 3.0f + 0.5f));
    if constexpr (ACTIVATION == GELU) return normal_share(x) + x * normal_density(x);
    if constexpr (ACTIVATION == HARDSIGMOID) return select((x > -3.0f) & (x < 3.0f), all(1.0f / 6), Vec{});
    return all(1.0f);
}

struct Activated {
    Vec value, slope;
};

// Computes the activation and its derivative together, which costs little more than one of them.
template <int ACTIVATION>
Activated activate_with_slope(Vec x, float slope) {
    if constexpr (ACTIVATION == SILU) {
        const Vec s = sigmoid(x), value = x * s;
        return {value, s + value * (1.0f - s)};
    }
    if constexpr (ACTIVATION == GELU) {
        const Vec share = normal_share(x);
        return {x * share, share + x * normal_density(x)};
    }
    return {activate<ACTIVATION>(x, slope), slope_at<ACTIVATION>(x, slope)};
}

// Calls f with the activation as a compile-time constant.
template <class F>
void with_activation(int activation, F f) {
    switch (activation) {
        case RELU: return f(std::integral_constant<int, RELU>{});
        case LEAKY_RELU: return f(std::integral_constant<int, LEAKY_RELU>{});
        case SILU: return f(std::integral_constant<int, SILU>{});
        case HARDSWISH: return f(std::integral_constant<int, HARDSWISH>{});
        case GELU: return f(std::integral_constant<int, GELU>{});
        case HARDSIGMOID: return f(std::integral_constant<int, HARDSIGMOID>{});
        default: return f(std::integral_constant<int, IDENTITY>{});
    }
}
