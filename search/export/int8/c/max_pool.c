/* Max pooling over square windows, in place; size is the side and the stride. The output begins where the map begins
 * and is written from its first pixel on, or it ends where the map ends and is written from its last pixel on. No
 * value is then overwritten before it is read. */
static void max_pool(const int8_t *in, int8_t *out, int32_t height, int32_t width, int32_t channels, int32_t size)
{
    const int32_t out_width = width / size;
    const int32_t n_pixels = height / size * out_width;
    for (int32_t i = 0; i < n_pixels; i++) {
        const int32_t pixel = out == in ? i : n_pixels - 1 - i;
        const int8_t *window = in + (pixel / out_width * width + pixel % out_width) * size * channels;
        for (int32_t c = 0; c < channels; c++) {
            int8_t largest = -128;
            for (int32_t row = 0; row < size; row++)
                for (int32_t column = 0; column < size; column++) {
                    const int8_t value = window[(row * width + column) * channels + c];
                    if (value > largest)
                        largest = value;
                }
            out[pixel * channels + c] = largest;
        }
    }
}
