/* Where a processor has vectors of 16 bytes, many sums are computed side by side. All ways give the same results. */
#if defined(__SSE2__) || defined(_M_X64) || defined(__ARM_NEON) || defined(__riscv_vector)
#define VECTORS 1
#else
#define VECTORS 0
#endif

/* Whether to use the instructions of Cortex-M for digital signals. Their functions are in arm_acle.h since GCC 10, and
 * the words that they take apart are little-endian. */
#if defined(__ARM_FEATURE_DSP) && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 10)) \
    && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SIGNALS 1
#else
#define SIGNALS 0
#endif

#ifdef __SSE2__
#include <immintrin.h>
#endif

#if SIGNALS
#include <arm_acle.h>
#endif

#if SIGNALS || defined(__SSE2__)
/* Word at any address. */
typedef struct __attribute__((packed, may_alias)) { int32_t value; } word;

static inline int32_t read_word(const void *address)
{
    return ((const word *)address)->value;
}
#endif

#if SIGNALS
/* Return bytes 0 and 2, or 1 and 3, each as a number of 16 bits. Compilers do not find the rotation of SXTB16. */
static inline int16x2_t even_bytes(int32_t four)
{
    return __sxtb16(four);
}

static inline int16x2_t odd_bytes(int32_t four)
{
#if defined(__GNUC__) && defined(__thumb2__)
    int16x2_t odd;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(four));
    return odd;
#else
    return __sxtb16((int32_t)((uint32_t)four >> 8));
#endif
}
#endif
