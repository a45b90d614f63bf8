/* Positions in the largest kernel. */
#define LARGEST_KERNEL $largest_kernel

/* Fills a pixel with the zero of the input. It is volatile so that no compiler makes it a call of memset. */
static void fill_padding(const MODEL_FLASH convolution *layer, volatile int8_t *padding)
{
    for (int32_t c = 0; layer->padding && c < layer->channels; c++)
        padding[c] = layer->zero_in;
}

/* Sets the addresses of the pixels under the kernel at row y and column x; those outside the map are the padding. */
static void find_pixels(const MODEL_FLASH convolution *layer, const int8_t *in, const int8_t *padding, int32_t y,
                        int32_t x, const int8_t **pixels)
{
    const int32_t height = layer->height, width = layer->width, channels = layer->channels, side = layer->side;
    const int32_t top = y * layer->stride - layer->padding, left = x * layer->stride - layer->padding;
    for (int32_t row = top, i = 0; i < side; row++, i++)
        for (int32_t column = left, j = 0; j < side; column++, j++) {
            const int is_outside = row < 0 || row >= height || column < 0 || column >= width;
            *pixels++ = is_outside ? padding : in + (row * width + column) * channels;
        }
}

/* Sums of n channels, from number `first`, over the pixels under the kernel. */
static void sum_pixels(const MODEL_FLASH convolution *layer, const int8_t *const *pixels, int32_t first, int32_t n,
                       int32_t *sums)
{
    const int32_t channels = layer->channels, kernel = layer->side * layer->side;
    int32_t k = 0;
#ifdef LANES
    for (; n >= LANES && channels >= LANES && k < n; k += LANES) {
        const int32_t i = first + (k + LANES <= n ? k : n - LANES); /* the last ones overlap */
        const int8_t *weight = layer->weight + i;
        lanes sum = read_lanes(layer->bias + i);
        int32_t position = 0;
        for (; position + 2 <= kernel; position += 2, weight += 2 * channels)
            sum = add_products_of_pairs(sum, read_pairs(pixels[position] + i, pixels[position + 1] + i),
                                        read_pairs(weight, weight + channels));
        if (position < kernel)
            sum = add_products_of_pairs(sum, read_pairs(pixels[position] + i, 0), read_pairs(weight, 0));
        store_lanes(sums + i - first, sum);
    }
#elif VECTORS
    for (; k < n; k++)
        sums[k] = layer->bias[first + k];
    for (int32_t position = 0; position < kernel; position++) {
        const int8_t *pixel = pixels[position] + first;
        const int8_t *weight = layer->weight + position * channels + first;
        for (int32_t i = 0; i < n; i++)
            sums[i] += pixel[i] * weight[i];
    }
#else
    for (; k + 4 <= n; k += 4) {
        const MODEL_FLASH int32_t *bias = layer->bias + first + k;
        const MODEL_FLASH int8_t *weight = layer->weight + first + k;
        int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
        for (const int8_t *const *address = pixels; address < pixels + kernel; address++, weight += channels) {
            const int8_t *pixel = *address + first + k;
#if SIGNALS
            const int32_t x = read_word(pixel), w = read_word(weight);
            a = __smlabb(even_bytes(x), even_bytes(w), a);
            b = __smlabb(odd_bytes(x), odd_bytes(w), b);
            c = __smlatt(even_bytes(x), even_bytes(w), c);
            d = __smlatt(odd_bytes(x), odd_bytes(w), d);
#else
            a += pixel[0] * weight[0];
            b += pixel[1] * weight[1];
            c += pixel[2] * weight[2];
            d += pixel[3] * weight[3];
#endif
        }
        sums[k] = a;
        sums[k + 1] = b;
        sums[k + 2] = c;
        sums[k + 3] = d;
    }
#endif
    for (; k < n; k++) {
        int32_t sum = layer->bias[first + k];
        for (int32_t position = 0; position < kernel; position++)
            sum += pixels[position][first + k] * layer->weight[position * channels + first + k];
        sums[k] = sum;
    }
}

/* Convolution whose filters read one channel each. The weights are stored kernel position by kernel position. */
static void convolve_depthwise(const MODEL_FLASH convolution *layer, const int8_t *in, int8_t *out, int8_t *padding)
{
    const int32_t height = covered_rows(layer), width = covered_columns(layer);
    const int32_t channels = layer->channels;
    const int8_t *pixels[LARGEST_KERNEL];
    int32_t sums[FILTERS_AT_ONCE];
    fill_padding(layer, padding);
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++) {
            find_pixels(layer, in, padding, y, x, pixels);
            for (int32_t first = 0; first < channels; first += FILTERS_AT_ONCE) {
                const int32_t n = channels - first < FILTERS_AT_ONCE ? channels - first : FILTERS_AT_ONCE;
                sum_pixels(layer, pixels, first, n, sums);
                store(layer, first, n, sums, out, y, x);
            }
        }
}
