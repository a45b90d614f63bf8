/* Global average pooling and a linear layer in one, so that the sums of the channels are not rounded. The weights are
 * stored channel by channel. */
static void classify_means(const int8_t *in, int32_t *logits, int32_t n_pixels, int32_t channels, int32_t classes,
                           const MODEL_FLASH int8_t *weight, const MODEL_FLASH int32_t *bias,
                           const MODEL_FLASH int32_t *multiplier, int32_t shift)
{
    for (int32_t c = 0; c < channels; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < n_pixels; i++)
            sum += in[i * channels + c];
        for (int32_t k = 0; k < classes; k++)
            logits[k] = (c ? logits[k] : bias[k]) + sum * *weight++;
    }
    for (int32_t k = 0; k < classes; k++)
        logits[k] = (int32_t)rescale(logits[k], multiplier[k], shift);
}
