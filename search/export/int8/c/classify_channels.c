/* Means of the first channels, one for each class, as logits; they are not rounded before they are scaled. */
static void classify_channels(const int8_t *in, int32_t *logits, int32_t n_pixels, int32_t channels, int32_t classes,
                              const MODEL_FLASH int8_t *weight, const MODEL_FLASH int32_t *bias,
                              const MODEL_FLASH int32_t *multiplier, int32_t shift)
{
    for (int32_t k = 0; k < classes; k++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < n_pixels; i++)
            sum += in[i * channels + k];
        logits[k] = (int32_t)rescale(bias[k] + sum * weight[k], multiplier[k], shift);
    }
}
