/* Linear layer over all values of a map. */
static void classify(const int8_t *in, int32_t *logits, int32_t n_values, int32_t classes,
                     const MODEL_FLASH int8_t *weight, const MODEL_FLASH int32_t *bias,
                     const MODEL_FLASH int32_t *multiplier, int32_t shift)
{
    for (int32_t k = 0; k < classes; k++) {
        int32_t sum = bias[k];
        for (int32_t i = 0; i < n_values; i++)
            sum += in[i] * weight[i];
        weight += n_values;
        logits[k] = (int32_t)rescale(sum, multiplier[k], shift);
    }
}
