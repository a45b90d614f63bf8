/* Converts grey levels, stored channel by channel, to a map. */
static void read_image(const uint8_t *image, int8_t *out, int32_t n_pixels, int32_t channels,
                       const MODEL_FLASH int32_t *multiplier, const MODEL_FLASH int32_t *offset, int32_t shift)
{
    for (int32_t c = 0; c < channels; c++)
        for (int32_t i = 0; i < n_pixels; i++)
            out[i * channels + c] = saturate((image[c * n_pixels + i] * multiplier[c] + offset[c]) >> shift);
}
