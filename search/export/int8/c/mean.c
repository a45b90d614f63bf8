/* Global average pooling. */
static void mean(const int8_t *in, int8_t *out, int32_t n_pixels, int32_t channels, int32_t multiplier,
                 int64_t offset, int32_t shift)
{
    for (int32_t c = 0; c < channels; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < n_pixels; i++)
            sum += in[i * channels + c];
        out[c] = saturate_wide(((int64_t)sum * multiplier + offset) >> shift);
    }
}
