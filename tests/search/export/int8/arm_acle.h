/* Functions that compute what the instructions of the same names compute, so that a host can test code that uses them. */
#include <stdint.h>

typedef int32_t int16x2_t;
typedef int32_t int8x4_t;

static inline int32_t low_half(int32_t pair)
{
    return (int16_t)pair;
}

static inline int32_t high_half(int32_t pair)
{
    return (int16_t)(pair >> 16);
}

static inline int16x2_t __sxtb16(int8x4_t bytes)
{
    const int32_t low = (int8_t)bytes, high = (int8_t)(bytes >> 16);
    return (int16x2_t)(((uint32_t)low & 0xffff) | (uint32_t)high << 16);
}

static inline int32_t __smlad(int16x2_t a, int16x2_t b, int32_t sum)
{
    return sum + low_half(a) * low_half(b) + high_half(a) * high_half(b);
}

static inline int32_t __smlabb(int16x2_t a, int16x2_t b, int32_t sum)
{
    return sum + low_half(a) * low_half(b);
}

static inline int32_t __smlatt(int16x2_t a, int16x2_t b, int32_t sum)
{
    return sum + high_half(a) * high_half(b);
}
