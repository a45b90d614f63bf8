/* The rounding below needs >> to round negative numbers down. With any other compiler this line is an error. */
typedef char shift_rounds_down[(-1 >> 1) == -1 ? 1 : -1];

static inline int8_t saturate(int32_t value)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT)
    __asm__("ssat %0, #8, %0" : "+r"(value) : : "cc");
    return (int8_t)value;
#else
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
#endif
}

/* Returns the high 32 bits of a product of 64 bits. */
static inline int32_t multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

static inline int8_t saturate_wide(int64_t value)
{
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

/* Returns sum * multiplier / 2^shift, rounded to the nearest integer, halves up. */
static inline int64_t rescale(int32_t sum, int32_t multiplier, int32_t shift)
{
    return ((int64_t)sum * multiplier + ((int64_t)1 << (shift - 1))) >> shift;
}
