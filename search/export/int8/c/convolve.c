/* Inputs of a filter that are on the stack at the same time, a multiple of 4. */
#define INPUTS_AT_ONCE 60

/* Copies four levels as numbers of 16 bits. */
static inline void widen_four(const int8_t *levels, int16_t *inputs)
{
#if SIGNALS
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
            for (; i + 4 <= end; i += 4, inputs += 4)
                widen_four(in + offset + i, inputs);
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
#ifdef __SSE2__
/* Returns eight weights, which are those of two filters, as numbers of 16 bits. */
static inline __m128i read_weights(const int8_t *weight)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)weight);
#ifdef __SSE4_1__
    return _mm_cvtepi8_epi16(bytes);
#else
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
#endif
}

/* Returns four inputs in the order of the weights, twice. */
static inline __m128i read_inputs(const int16_t *inputs)
{
    const __m128i four = _mm_shufflelo_epi16(_mm_loadl_epi64((const __m128i *)inputs), _MM_SHUFFLE(3, 1, 2, 0));
    return _mm_unpacklo_epi64(four, four);
}

/* Returns the parts of the sums of two filters, two each, plus the products of eight inputs and weights. */
static inline __m128i add_eight(__m128i parts, __m128i inputs, __m128i weights)
{
    return _mm_add_epi32(parts, _mm_madd_epi16(inputs, weights));
}

/* Adds the parts to the sums of two filters. */
static inline void add_parts(__m128i parts, int32_t *sums)
{
    parts = _mm_add_epi32(parts, _mm_shuffle_epi32(parts, _MM_SHUFFLE(2, 3, 0, 1)));
    sums[0] += _mm_cvtsi128_si32(parts);
    sums[1] += _mm_cvtsi128_si32(_mm_unpackhi_epi64(parts, parts));
}

/* Adds the products of the inputs of two pixels with n filters to the bias, or to the sums so far if that is 0. */
static void add_products(const int16_t *inputs, int32_t n_inputs, const int8_t *fours, const int8_t *ones,
                         int32_t stride, int32_t n, const int32_t *bias, int32_t *sums)
{
    const int32_t n_fours = n_inputs / 4;
    __m128i x[INPUTS_AT_ONCE / 4], y[INPUTS_AT_ONCE / 4]; /* inputs of one pixel, and of the next */
    int32_t *next_sums = sums + FILTERS_AT_ONCE, k = 0;
    for (int32_t i = 0; i < n_fours; i++) {
        x[i] = read_inputs(inputs + 4 * i);
        y[i] = read_inputs(inputs + INPUTS_AT_ONCE + 4 * i);
    }
    for (; bias && k < n + n % 2; k++)
        sums[k] = next_sums[k] = bias[k];
    for (k = 0; k + 8 <= n; k += 8) {
        __m128i a = _mm_setzero_si128(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;
        const int8_t *weight = fours + 4 * k;
        for (int32_t i = 0; i < n_fours; i++, weight += 4 * stride) {
            const __m128i v = read_weights(weight), w = read_weights(weight + 8);
            a = add_eight(a, x[i], v);
            b = add_eight(b, x[i], w);
            e = add_eight(e, y[i], v);
            f = add_eight(f, y[i], w);
            const __m128i p = read_weights(weight + 16), q = read_weights(weight + 24);
            c = add_eight(c, x[i], p);
            d = add_eight(d, x[i], q);
            g = add_eight(g, y[i], p);
            h = add_eight(h, y[i], q);
        }
        add_parts(a, sums + k);
        add_parts(b, sums + k + 2);
        add_parts(c, sums + k + 4);
        add_parts(d, sums + k + 6);
        add_parts(e, next_sums + k);
        add_parts(f, next_sums + k + 2);
        add_parts(g, next_sums + k + 4);
        add_parts(h, next_sums + k + 6);
    }
    for (; k < n; k += 2) {
        __m128i a = _mm_setzero_si128(), e = a;
        const int8_t *weight = fours + 4 * k;
        for (int32_t i = 0; i < n_fours; i++, weight += 4 * stride) {
            const __m128i v = read_weights(weight);
            a = add_eight(a, x[i], v);
            e = add_eight(e, y[i], v);
        }
        add_parts(a, sums + k);
        add_parts(e, next_sums + k);
    }
    for (int32_t i = 4 * n_fours; i < n_inputs; i++, ones += stride)
        for (k = 0; k < n; k++) {
            sums[k] += inputs[i] * ones[k];
            next_sums[k] += inputs[INPUTS_AT_ONCE + i] * ones[k];
        }
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

/* Convolution whose filters read all channels. It computes two pixels at a time. */
static void convolve(const MODEL_FLASH convolution *layer, const int8_t *in, int8_t *out)
{
    const int32_t height = covered_rows(layer), width = covered_columns(layer);
    const int32_t n_inputs = (int32_t)layer->channels * layer->side * layer->side;
    const int32_t filters = layer->filters, stride = filters + filters % 2;
    int16_t inputs[2 * INPUTS_AT_ONCE]; /* of one pixel, and of the next */
    int32_t sums[2 * FILTERS_AT_ONCE];
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x += 2) {
            const int32_t next = x + 1 < width ? x + 1 : x; /* of an odd number of pixels, the last one twice */
            for (int32_t first = 0; first < filters; first += FILTERS_AT_ONCE) {
                const int32_t n = filters - first < FILTERS_AT_ONCE ? filters - first : FILTERS_AT_ONCE;
                for (int32_t start = 0; start < n_inputs; start += INPUTS_AT_ONCE) {
                    const int32_t n_copied = n_inputs - start < INPUTS_AT_ONCE ? n_inputs - start : INPUTS_AT_ONCE;
                    const MODEL_FLASH int8_t *fours = layer->weight + start * stride + 4 * first;
                    const MODEL_FLASH int8_t *ones = layer->weight + (start + n_copied / 4 * 4) * stride + first;
                    const MODEL_FLASH int32_t *bias = start ? 0 : layer->bias + first;
                    if (first == 0 || n_inputs > INPUTS_AT_ONCE) { /* else they are still there */
                        copy_window(layer, in, y, x, start, n_copied, inputs);
                        copy_window(layer, in, y, next, start, n_copied, inputs + INPUTS_AT_ONCE);
                    }
                    add_products(inputs, n_copied, fours, ones, stride, n, bias, sums);
                }
                store(layer, first, n, sums, out, y, x);
                store(layer, first, n, sums + FILTERS_AT_ONCE, out, y, next);
            }
        }
}
