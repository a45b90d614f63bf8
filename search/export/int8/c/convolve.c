/* Inputs of a filter that are on the stack at the same time, a multiple of 4. */
#define INPUTS_AT_ONCE 60

/* Pixels whose sums are computed at the same time. */
#ifdef LANES
#define PIXELS_AT_ONCE 4
#else
#define PIXELS_AT_ONCE 2
#endif

/* Copies WIDENED levels as numbers of 16 bits. */
#ifdef LANES
#define WIDENED 8
#else
#define WIDENED 4
#endif

static inline void widen(const int8_t *levels, int16_t *inputs)
{
#ifdef LANES
    const __m128i eight = _mm_loadl_epi64((const __m128i *)levels);
    _mm_storeu_si128((__m128i *)inputs, _mm_srai_epi16(_mm_unpacklo_epi8(eight, eight), 8));
#elif SIGNALS
    const int32_t four = read_word(levels);
    const uint32_t even = (uint32_t)even_bytes(four), odd = (uint32_t)odd_bytes(four);
    ((word *)inputs)->value = (int32_t)((even & 0xffff) | odd << 16);
    ((word *)(inputs + 2))->value = (int32_t)(even >> 16 | (odd & 0xffff0000));
#else
    inputs[0] = levels[0];
    inputs[1] = levels[1];
    inputs[2] = levels[2];
    inputs[3] = levels[3];
#endif
}

/* Copies n inputs, from number `start`, of the filters for the pixel at row y and column x. The inputs are the pixels
 * under the kernel, row by row; those of a row are neighbours in the map. Outside the map they are zero. */
static void copy_window(const MODEL_FLASH convolution *layer, const int8_t *in, int32_t y, int32_t x, int32_t start,
                        int32_t n, int16_t *inputs)
{
    const int32_t channels = layer->channels, map_row = layer->width * channels, kernel_row = layer->side * channels;
    const int32_t left = (x * layer->stride - layer->padding) * channels; /* of the kernel in a row of the map */
    int32_t row = y * layer->stride - layer->padding + start / kernel_row, i = start % kernel_row;
    for (; n > 0; row++, i = 0) {
        const int32_t end = i + n < kernel_row ? i + n : kernel_row;
        const int32_t offset = row * map_row + left;
        n -= end - i;
        if (row >= 0 && row < layer->height && left + i >= 0 && left + end <= map_row) {
            for (; i + WIDENED <= end; i += WIDENED, inputs += WIDENED)
                widen(in + offset + i, inputs);
            for (; i < end; i++)
                *inputs++ = in[offset + i];
        } else {
            for (; i < end; i++) {
                const int is_inside = row >= 0 && row < layer->height && left + i >= 0 && left + i < map_row;
                *inputs++ = is_inside ? in[offset + i] : layer->zero_in;
            }
        }
    }
}

/* The weights of a convolution are stored for four inputs at a time, and of these for all filters. The four weights of
 * a filter are those of the inputs 0, 2, 1 and 3, because SXTB16 widens every other byte. The weights of up to three
 * remaining inputs follow, for one input at a time. The tables have an even number of filters, `stride`. */
#ifdef LANES
/* Returns the sums plus the products of four inputs and their weights for each filter. */
static inline lanes add_four(const int16_t *inputs, lanes low, lanes high, lanes sums)
{
    sums = add_products_of_pairs(sums, fill_lanes(read_word(inputs)), low);
    return add_products_of_pairs(sums, fill_lanes(read_word(inputs + 2)), high);
}

/* Adds the products of the inputs of four pixels with n filters to the bias, or to the sums so far if that is 0. */
static void add_products(const int16_t *inputs, int32_t n_inputs, const int8_t *fours, const int8_t *ones,
                         int32_t stride, int32_t n, const int32_t *bias, int32_t *sums)
{
    const int32_t n_even = n + n % 2, n_in_fours = n_inputs / 4 * 4;
    for (int32_t k = 0; k < n; k += LANES) {
        const int32_t n_left = n_even - k;
        const int8_t *weight = fours + 4 * k;
        lanes a = bias ? read_some(bias + k, n_left) : read_lanes(sums + k), b = a, c = a, d = a;
        if (!bias) {
            b = read_lanes(sums + FILTERS_AT_ONCE + k);
            c = read_lanes(sums + 2 * FILTERS_AT_ONCE + k);
            d = read_lanes(sums + 3 * FILTERS_AT_ONCE + k);
        }
        for (const int16_t *x = inputs; x < inputs + n_in_fours; x += 4, weight += 4 * stride) {
            const lanes weights = read_some(weight, n_left);
            const lanes low = low_bytes(weights), high = high_bytes(weights); /* of inputs 0 and 1, 2 and 3 */
            a = add_four(x, low, high, a);
            b = add_four(x + INPUTS_AT_ONCE, low, high, b);
            c = add_four(x + 2 * INPUTS_AT_ONCE, low, high, c);
            d = add_four(x + 3 * INPUTS_AT_ONCE, low, high, d);
        }
        weight = ones + k;
        for (int32_t i = n_in_fours; n_left >= LANES && i < n_inputs; i++, weight += stride) {
            const lanes weights = read_pairs(weight, 0);
            a = add_products_of_pairs(a, fill_lanes(inputs[i]), weights);
            b = add_products_of_pairs(b, fill_lanes(inputs[INPUTS_AT_ONCE + i]), weights);
            c = add_products_of_pairs(c, fill_lanes(inputs[2 * INPUTS_AT_ONCE + i]), weights);
            d = add_products_of_pairs(d, fill_lanes(inputs[3 * INPUTS_AT_ONCE + i]), weights);
        }
        store_lanes(sums + k, a);
        store_lanes(sums + FILTERS_AT_ONCE + k, b);
        store_lanes(sums + 2 * FILTERS_AT_ONCE + k, c);
        store_lanes(sums + 3 * FILTERS_AT_ONCE + k, d);
    }
    for (int32_t i = n_in_fours; i < n_inputs; i++, ones += stride)
        for (int32_t k = n_even / LANES * LANES; k < n; k++)
            for (int32_t p = 0; p < PIXELS_AT_ONCE; p++)
                sums[p * FILTERS_AT_ONCE + k] += inputs[p * INPUTS_AT_ONCE + i] * ones[k];
}
#else
/* Returns the sum plus the products of four inputs and weights. Each product fits into an int of 16 bits. */
static inline int32_t add_four(const int16_t *inputs, const MODEL_FLASH int8_t *weight, int32_t sum)
{
#if SIGNALS
    const int32_t four = read_word(weight);
    sum = __smlad(read_word(inputs), even_bytes(four), sum);
    return __smlad(read_word(inputs + 2), odd_bytes(four), sum);
#else
    sum += inputs[0] * weight[0];
    sum += inputs[2] * weight[1];
    sum += inputs[1] * weight[2];
    return sum + inputs[3] * weight[3];
#endif
}

/* Adds the products of the inputs of two pixels with n filters to the bias, or to the sums so far if that is 0. */
static void add_products(const int16_t *inputs, int32_t n_inputs, const MODEL_FLASH int8_t *fours,
                         const MODEL_FLASH int8_t *ones, int32_t stride, int32_t n, const MODEL_FLASH int32_t *bias,
                         int32_t *sums)
{
    const int16_t *end_of_fours = inputs + n_inputs / 4 * 4, *end = inputs + n_inputs;
    for (int32_t k = 0; k < n; k += 2, fours += 8, ones += 2, sums += 2) {
        const int16_t *x = inputs;
        const MODEL_FLASH int8_t *weight = fours;
        int32_t a, b, c, d; /* two filters for one pixel, and for the next */
        if (bias) {
            a = c = bias[k];
            b = d = bias[k + 1];
        } else {
            a = sums[0];
            b = sums[1];
            c = sums[FILTERS_AT_ONCE];
            d = sums[FILTERS_AT_ONCE + 1];
        }
        for (; x < end_of_fours; x += 4, weight += 4 * stride) {
            a = add_four(x, weight, a);
            c = add_four(x + INPUTS_AT_ONCE, weight, c);
            b = add_four(x, weight + 4, b);
            d = add_four(x + INPUTS_AT_ONCE, weight + 4, d);
        }
        for (weight = ones; x < end; x++, weight += stride) {
            a += x[0] * weight[0];
            b += x[0] * weight[1];
            c += x[INPUTS_AT_ONCE] * weight[0];
            d += x[INPUTS_AT_ONCE] * weight[1];
        }
        sums[0] = a;
        sums[1] = b;
        sums[FILTERS_AT_ONCE] = c;
        sums[FILTERS_AT_ONCE + 1] = d;
    }
}
#endif

/* Convolution whose filters read all channels. */
static void convolve(const MODEL_FLASH convolution *layer, const int8_t *in, int8_t *out)
{
    const int32_t height = covered_rows(layer), width = covered_columns(layer);
    const int32_t n_inputs = (int32_t)layer->channels * layer->side * layer->side;
    const int32_t filters = layer->filters, stride = filters + filters % 2;
    int16_t inputs[PIXELS_AT_ONCE * INPUTS_AT_ONCE];
    int32_t sums[PIXELS_AT_ONCE * FILTERS_AT_ONCE];
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x += PIXELS_AT_ONCE)
            for (int32_t first = 0; first < filters; first += FILTERS_AT_ONCE) {
                const int32_t n = filters - first < FILTERS_AT_ONCE ? filters - first : FILTERS_AT_ONCE;
                for (int32_t start = 0; start < n_inputs; start += INPUTS_AT_ONCE) {
                    const int32_t n_copied = n_inputs - start < INPUTS_AT_ONCE ? n_inputs - start : INPUTS_AT_ONCE;
                    const MODEL_FLASH int8_t *fours = layer->weight + start * stride + 4 * first;
                    const MODEL_FLASH int8_t *ones = layer->weight + (start + n_copied / 4 * 4) * stride + first;
                    const MODEL_FLASH int32_t *bias = start ? 0 : layer->bias + first;
                    if (first == 0 || n_inputs > INPUTS_AT_ONCE) /* else they are still there */
                        for (int32_t i = 0; i < PIXELS_AT_ONCE; i += 2) {
                            const int32_t column = x + i < width ? x + i : x;
                            const int32_t next = column + 1 < width ? column + 1 : column;
                            copy_window(layer, in, y, column, start, n_copied, inputs + i * INPUTS_AT_ONCE);
                            copy_window(layer, in, y, next, start, n_copied, inputs + (i + 1) * INPUTS_AT_ONCE);
                        }
                    add_products(inputs, n_copied, fours, ones, stride, n, bias, sums);
                }
                for (int32_t i = 0; i < PIXELS_AT_ONCE && x + i < width; i += 2) {
                    const int32_t column = x + i, next = column + 1 < width ? column + 1 : column;
                    store(layer, first, n, sums + i * FILTERS_AT_ONCE, out, y, column);
                    store(layer, first, n, sums + (i + 1) * FILTERS_AT_ONCE, out, y, next);
                }
            }
}
