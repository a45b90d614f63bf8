/* 1x1 convolution whose filters read one of several groups of channels each: filter k group k % groups, so that the
 * channels of its output are already shuffled. The weights are stored filter by filter. */
static void convolve_groups(const MODEL_FLASH convolution *layer, const int8_t *in, int8_t *out, int32_t groups)
{
    const int32_t height = covered_rows(layer), width = covered_columns(layer);
    const int32_t n_inputs = layer->channels / groups;
    int32_t sums[FILTERS_AT_ONCE];
    for (int32_t y = 0; y < height; y++)
        for (int32_t x = 0; x < width; x++) {
            const int8_t *pixel = in + (y * layer->width + x) * layer->channels;
            const MODEL_FLASH int8_t *weight = layer->weight;
            int32_t group = 0; /* of the next filter */
            for (int32_t first = 0; first < layer->filters; first += FILTERS_AT_ONCE) {
                const int32_t n = layer->filters - first < FILTERS_AT_ONCE ? layer->filters - first : FILTERS_AT_ONCE;
                for (int32_t k = 0; k < n; k++, weight += n_inputs) {
                    const int8_t *inputs = pixel + group * n_inputs;
                    int32_t sum = layer->bias[first + k], i = 0;
#if SIGNALS
                    for (; i + 4 <= n_inputs; i += 4) {
                        const int32_t four = read_word(inputs + i), weights = read_word(weight + i);
                        sum = __smlad(even_bytes(four), even_bytes(weights), sum);
                        sum = __smlad(odd_bytes(four), odd_bytes(weights), sum);
                    }
#endif
                    for (; i < n_inputs; i++)
                        sum += inputs[i] * weight[i];
                    sums[k] = sum;
                    group = group + 1 < groups ? group + 1 : 0;
                }
                store(layer, first, n, sums, out, y, x);
            }
        }
}
