/* Convolution with square kernels, and what is done to its output before that is stored: the sum times
 * multiplier / 2^shift, plus the zero of the output, is rounded and saturated; an activation function and a batch norm
 * after it may follow; of each pool x pool such values the largest is stored. The bias contains the zero of the input,
 * so that the sums are those of the stored values. */
typedef struct {
    int16_t height, width, channels; /* of the map that it reads */
    int16_t filters, out_width, pool; /* the width is that of the output before pooling */
    int8_t side, padding, stride, zero_in, zero_out, shift, norm_shift;
    const MODEL_FLASH int8_t *weight;
    const MODEL_FLASH int32_t *bias;            /* one for each filter, as in the other tables of int32_t */
    const MODEL_FLASH int32_t *multiplier;
    const MODEL_FLASH int8_t *activation;       /* outputs for -128 to 127, or 0 */
    const MODEL_FLASH int32_t *norm_multiplier; /* or 0 */
    const MODEL_FLASH int32_t *norm_offset;
} convolution;

/* Filters whose sums are on the stack at the same time, an even number and a multiple of LANES. */
#if VECTORS
#define FILTERS_AT_ONCE 64
#else
#define FILTERS_AT_ONCE 44
#endif

/* Returns the rows of the output that are computed: those that the windows of the pool cover. */
static inline int32_t covered_rows(const MODEL_FLASH convolution *layer)
{
    const int32_t rows = (layer->height + 2 * layer->padding - layer->side) / layer->stride + 1;
    return rows / layer->pool * layer->pool;
}

/* Returns the columns of the output that are computed. */
static inline int32_t covered_columns(const MODEL_FLASH convolution *layer)
{
    return layer->out_width / layer->pool * layer->pool;
}

/* Returns the high 32 bits of a product of 64 bits. */
static inline int32_t multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

/* Rescales n sums to levels of the output. With a shift of more than 32, the high word of the product suffices. */
static void rescale_sums(const MODEL_FLASH convolution *layer, int32_t first, int32_t n, const int32_t *sums,
                         int8_t *levels)
{
    const MODEL_FLASH int32_t *multiplier = layer->multiplier + first;
    const MODEL_FLASH int8_t *activation = layer->activation;
    const int32_t zero = layer->zero_out, shift = layer->shift - 32;
    /* In units of the high word: the zero of the output, and the half that rounds to the nearest level. */
    const int32_t offset = shift > 0 ? zero * ((int32_t)1 << shift) + ((int32_t)1 << (shift - 1)) : 0;
    if (shift <= 0) {
        for (int32_t k = 0; k < n; k++)
            levels[k] = saturate_wide(rescale(sums[k], multiplier[k], shift + 32) + zero);
        for (int32_t k = 0; activation && k < n; k++)
            levels[k] = activation[levels[k] + 128];
#ifdef LANES
    } else if (n >= LANES && layer->filters >= LANES) { /* with the second, GCC sees that no shorter table is read */
        for (int32_t k = 0; k < n; k += LANES) {
            const int32_t i = k + LANES <= n ? k : n - LANES; /* the last ones overlap */
            store_levels(levels + i, read_lanes(sums + i), read_lanes(multiplier + i), fill_lanes(offset), shift);
        }
        for (int32_t k = 0; activation && k < n; k++)
            levels[k] = activation[levels[k] + 128];
#endif
    } else if (activation) {
        for (int32_t k = 0; k < n; k++)
            levels[k] = activation[saturate((multiply_high(sums[k], multiplier[k]) + offset) >> shift) + 128];
    } else {
        for (int32_t k = 0; k < n; k++)
            levels[k] = saturate((multiply_high(sums[k], multiplier[k]) + offset) >> shift);
    }
}

/* Stores the outputs of n filters, from number `first`, for the pixel at row y and column x. */
static void store(const MODEL_FLASH convolution *layer, int32_t first, int32_t n, const int32_t *sums, int8_t *out,
                  int32_t y, int32_t x)
{
    const int32_t pool = layer->pool;
    int32_t width = layer->out_width;
    int8_t pooled[FILTERS_AT_ONCE];
    int is_first = 1; /* whether no other of the pooled pixels is stored yet */
    if (pool > 1) {
        is_first = y % pool == 0 && x % pool == 0;
        y /= pool;
        x /= pool;
        width /= pool;
    }
    out += (y * width + x) * layer->filters + first;
    int8_t *levels = is_first ? out : pooled;
    rescale_sums(layer, first, n, sums, levels);
    if (layer->norm_multiplier) {
        const MODEL_FLASH int32_t *norm_multiplier = layer->norm_multiplier + first;
        const MODEL_FLASH int32_t *norm_offset = layer->norm_offset + first;
        for (int32_t k = 0; k < n; k++)
            levels[k] = saturate((levels[k] * norm_multiplier[k] + norm_offset[k]) >> layer->norm_shift);
    }
    for (int32_t k = 0; !is_first && k < n; k++)
        out[k] = pooled[k] > out[k] ? pooled[k] : out[k];
}
