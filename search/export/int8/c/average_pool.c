/* Average pooling over square windows, in place as max pooling. */
static void average_pool(const int8_t *in, int8_t *out, int32_t height, int32_t width, int32_t channels, int32_t size,
                         int32_t multiplier, int64_t offset, int32_t shift)
{
    const int32_t out_width = width / size;
    const int32_t n_pixels = height / size * out_width;
    for (int32_t i = 0; i < n_pixels; i++) {
        const int32_t pixel = out == in ? i : n_pixels - 1 - i;
        const int8_t *window = in + (pixel / out_width * width + pixel % out_width) * size * channels;
        for (int32_t c = 0; c < channels; c++) {
            int32_t sum = 0;
            for (int32_t row = 0; row < size; row++)
                for (int32_t column = 0; column < size; column++)
                    sum += window[(row * width + column) * channels + c];
            out[pixel * channels + c] = saturate_wide(((int64_t)sum * multiplier + offset) >> shift);
        }
    }
}
