#ifdef __SSE2__
/* Numbers of 32 bits side by side, one for each filter. A pair is two numbers of 16 bits in the place of one. */
#ifdef __AVX2__
#define LANES 8
typedef __m256i lanes;

static inline lanes fill_lanes(int32_t value)
{
    return _mm256_set1_epi32(value);
}

static inline lanes read_lanes(const void *address)
{
    return _mm256_loadu_si256((const __m256i *)address);
}

/* Reads the first n lanes, and nothing beyond them. */
static inline lanes read_some(const void *address, int32_t n)
{
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_maskload_epi32((const int *)address, mask);
}

/* Reads bytes as pairs of bytes[k] and more_bytes[k], or of bytes[k] and zero if more_bytes is 0. */
static inline lanes read_pairs(const int8_t *bytes, const int8_t *more_bytes)
{
    const __m128i more = more_bytes ? _mm_loadl_epi64((const __m128i *)more_bytes) : _mm_setzero_si128();
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)bytes), more));
}

static inline void store_lanes(int32_t *address, lanes values)
{
    _mm256_storeu_si256((__m256i *)address, values);
}

/* Returns the low, or the high, byte of each number of 16 bits. */
static inline lanes low_bytes(lanes values)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(values, 8), 8);
}

static inline lanes high_bytes(lanes values)
{
    return _mm256_srai_epi16(values, 8);
}

/* Returns the sums plus both products of the pairs. */
static inline lanes add_products_of_pairs(lanes sums, lanes x, lanes y)
{
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpwssd_epi32(sums, x, y);
#else
    return _mm256_add_epi32(sums, _mm256_madd_epi16(x, y));
#endif
}

/* Stores (high 32 bits of sums * multipliers + offset) >> shift, saturated. */
static inline void store_levels(int8_t *levels, lanes sums, lanes multipliers, lanes offset, int32_t shift)
{
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epi32(sums, multipliers), 32);
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(sums, 32), _mm256_srli_epi64(multipliers, 32));
    const __m256i high = _mm256_add_epi32(_mm256_blend_epi32(even, odd, 0xaa), offset);
    const __m256i words = _mm256_sra_epi32(high, _mm_cvtsi32_si128(shift));
    const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64((__m128i *)levels, _mm_packs_epi16(halves, halves));
}
#else
#define LANES 4
typedef __m128i lanes;

static inline lanes fill_lanes(int32_t value)
{
    return _mm_set1_epi32(value);
}

static inline lanes read_lanes(const void *address)
{
    return _mm_loadu_si128((const __m128i *)address);
}

/* Reads the first n lanes, n even, and nothing beyond them. */
static inline lanes read_some(const void *address, int32_t n)
{
    return n < 4 ? _mm_loadl_epi64((const __m128i *)address) : _mm_loadu_si128((const __m128i *)address);
}

/* Reads bytes as pairs of bytes[k] and more_bytes[k], or of bytes[k] and zero if more_bytes is 0. */
static inline lanes read_pairs(const int8_t *bytes, const int8_t *more_bytes)
{
    const __m128i more = _mm_cvtsi32_si128(more_bytes ? read_word(more_bytes) : 0);
    const __m128i pairs = _mm_unpacklo_epi8(_mm_cvtsi32_si128(read_word(bytes)), more);
    return _mm_srai_epi16(_mm_unpacklo_epi8(pairs, pairs), 8);
}

static inline void store_lanes(int32_t *address, lanes values)
{
    _mm_storeu_si128((__m128i *)address, values);
}

/* Returns the low, or the high, byte of each number of 16 bits. */
static inline lanes low_bytes(lanes values)
{
    return _mm_srai_epi16(_mm_slli_epi16(values, 8), 8);
}

static inline lanes high_bytes(lanes values)
{
    return _mm_srai_epi16(values, 8);
}

/* Returns the sums plus both products of the pairs. */
static inline lanes add_products_of_pairs(lanes sums, lanes x, lanes y)
{
    return _mm_add_epi32(sums, _mm_madd_epi16(x, y));
}

/* Stores (high 32 bits of sums * multipliers + offset) >> shift, saturated. */
static inline void store_levels(int8_t *levels, lanes sums, lanes multipliers, lanes offset, int32_t shift)
{
    const __m128i odd_sums = _mm_srli_epi64(sums, 32), odd_multipliers = _mm_srli_epi64(multipliers, 32);
    /* Products of numbers without sign; a negative one counts as 2^32 more than it is. */
    const __m128i even = _mm_shuffle_epi32(_mm_mul_epu32(sums, multipliers), _MM_SHUFFLE(3, 1, 3, 1));
    const __m128i odd = _mm_shuffle_epi32(_mm_mul_epu32(odd_sums, odd_multipliers), _MM_SHUFFLE(3, 1, 3, 1));
    const __m128i excess = _mm_add_epi32(_mm_and_si128(_mm_srai_epi32(sums, 31), multipliers),
                                         _mm_and_si128(_mm_srai_epi32(multipliers, 31), sums));
    const __m128i high = _mm_add_epi32(_mm_sub_epi32(_mm_unpacklo_epi32(even, odd), excess), offset);
    const __m128i words = _mm_sra_epi32(high, _mm_cvtsi32_si128(shift));
    const __m128i halves = _mm_packs_epi32(words, words);
    ((word *)levels)->value = _mm_cvtsi128_si32(_mm_packs_epi16(halves, halves));
}
#endif
#endif
