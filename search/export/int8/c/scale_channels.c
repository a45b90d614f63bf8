/* Multiplies each channel of a map by its factor, in place. Of a factor, the level -128 is 0 and 127 is 1. */
static void scale_channels(const int8_t *factors, int8_t *map, int32_t n_pixels, int32_t channels, int32_t zero,
                           int32_t multiplier, int32_t offset, int32_t shift)
{
    for (int32_t i = 0; i < n_pixels; i++)
        for (int32_t c = 0; c < channels; c++, map++)
            *map = saturate(((*map - zero) * (factors[c] + 128) * multiplier + offset) >> shift);
}
