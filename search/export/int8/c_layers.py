"""Source of the C functions that a generated model.c consists of, by name; a file gets only those that it calls.

The language is C99. Every count and index is an int32_t, because int has 16 bits on some of the target processors. A
map is stored row by row and pixel by pixel, with all channels of a pixel together, so that the innermost loops run over
neighbouring bytes.
"""

from __future__ import annotations

ARITHMETIC = """\
/* The rounding below needs >> to round negative numbers down. With any other compiler this line is an error. */
typedef char shift_rounds_down[(-1 >> 1) == -1 ? 1 : -1];

static int8_t saturate(int64_t value)
{
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

/* Returns sum * multiplier / 2^shift, rounded to the nearest integer, halves up. */
static int64_t rescale(int32_t sum, int32_t multiplier, int32_t shift)
{
    return ((int64_t)sum * multiplier + ((int64_t)1 << (shift - 1))) >> shift;
}"""

LAYERS = {
    "read_image": """\
/* Converts grey levels, stored channel by channel, to a map. */
static void read_image(const uint8_t *image, int8_t *out, int32_t n_pixels, int32_t channels,
                       const int32_t *multiplier, const int32_t *offset, int32_t shift)
{
    for (int32_t c = 0; c < channels; c++)
        for (int32_t i = 0; i < n_pixels; i++)
            out[i * channels + c] = saturate((image[c * n_pixels + i] * multiplier[c] + offset[c]) >> shift);
}""",
    "convolve": """\
/* Convolution of stride 1 with square kernels, whose filters read all channels. */
static void convolve(const int8_t *in, int8_t *out, int32_t height, int32_t width, int32_t channels, int32_t filters,
                     int32_t side, int32_t padding, const int8_t *weight, const int32_t *bias,
                     const int32_t *multiplier, int32_t shift, int32_t zero_in, int32_t zero_out)
{
    const int32_t out_height = height + 2 * padding - side + 1;
    const int32_t out_width = width + 2 * padding - side + 1;
    for (int32_t y = 0; y < out_height; y++)
        for (int32_t x = 0; x < out_width; x++) {
            const int8_t *tap = weight;
            for (int32_t f = 0; f < filters; f++) {
                int32_t sum = bias[f];
                for (int32_t row = y - padding; row < y - padding + side; row++)
                    for (int32_t column = x - padding; column < x - padding + side; column++, tap += channels) {
                        if (row < 0 || row >= height || column < 0 || column >= width)
                            continue; /* the padding adds nothing */
                        const int8_t *pixel = in + (row * width + column) * channels;
                        for (int32_t c = 0; c < channels; c++)
                            sum += (pixel[c] - zero_in) * tap[c];
                    }
                *out++ = saturate(rescale(sum, multiplier[f], shift) + zero_out);
            }
        }
}""",
    "convolve_depthwise": """\
/* Convolution of stride 1 with square kernels, whose filters read one channel each. */
static void convolve_depthwise(const int8_t *in, int8_t *out, int32_t height, int32_t width, int32_t channels,
                               int32_t side, int32_t padding, const int8_t *weight, const int32_t *bias,
                               const int32_t *multiplier, int32_t shift, int32_t zero_in, int32_t zero_out)
{
    const int32_t out_height = height + 2 * padding - side + 1;
    const int32_t out_width = width + 2 * padding - side + 1;
    for (int32_t y = 0; y < out_height; y++)
        for (int32_t x = 0; x < out_width; x++)
            for (int32_t c = 0; c < channels; c++) {
                const int8_t *tap = weight + c;
                int32_t sum = bias[c];
                for (int32_t row = y - padding; row < y - padding + side; row++)
                    for (int32_t column = x - padding; column < x - padding + side; column++, tap += channels)
                        if (row >= 0 && row < height && column >= 0 && column < width)
                            sum += (in[(row * width + column) * channels + c] - zero_in) * *tap;
                *out++ = saturate(rescale(sum, multiplier[c], shift) + zero_out);
            }
}""",
    "look_up": """\
/* Activation function as a table, in place. */
static void look_up(int8_t *map, int32_t n_values, const int8_t *table)
{
    for (int32_t i = 0; i < n_values; i++)
        map[i] = table[map[i] + 128];
}""",
    "affine": """\
/* Batch normalisation after an activation, in place. */
static void affine(int8_t *map, int32_t n_pixels, int32_t channels, const int32_t *multiplier, const int32_t *offset,
                   int32_t shift)
{
    for (int32_t i = 0; i < n_pixels; i++)
        for (int32_t c = 0; c < channels; c++, map++)
            *map = saturate((*map * multiplier[c] + offset[c]) >> shift);
}""",
    "max_pool": """\
/* Max pooling over square windows; size is the side and the stride. */
static void max_pool(const int8_t *in, int8_t *out, int32_t height, int32_t width, int32_t channels, int32_t size)
{
    for (int32_t y = 0; y < height / size; y++)
        for (int32_t x = 0; x < width / size; x++)
            for (int32_t c = 0; c < channels; c++) {
                int8_t largest = -128;
                for (int32_t row = y * size; row < (y + 1) * size; row++)
                    for (int32_t column = x * size; column < (x + 1) * size; column++) {
                        const int8_t value = in[(row * width + column) * channels + c];
                        if (value > largest)
                            largest = value;
                    }
                *out++ = largest;
            }
}""",
    "mean": """\
/* Global average pooling. */
static void mean(const int8_t *in, int8_t *out, int32_t n_pixels, int32_t channels, int32_t multiplier,
                 int64_t offset, int32_t shift)
{
    for (int32_t c = 0; c < channels; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < n_pixels; i++)
            sum += in[i * channels + c];
        out[c] = saturate(((int64_t)sum * multiplier + offset) >> shift);
    }
}""",
    "add": """\
/* Sum of the two paths of a residual block, which overwrites the shortcut. */
static void add(const int8_t *main_path, int8_t *shortcut, int32_t n_values, int32_t main_multiplier,
                int32_t shortcut_multiplier, int32_t offset, int32_t shift)
{
    for (int32_t i = 0; i < n_values; i++)
        shortcut[i] = saturate((main_path[i] * main_multiplier + shortcut[i] * shortcut_multiplier + offset) >> shift);
}""",
    "classify": """\
/* Linear layer over all values of a map. */
static void classify(const int8_t *in, int32_t *logits, int32_t n_values, int32_t classes, const int8_t *weight,
                     const int32_t *bias, const int32_t *multiplier, int32_t shift, int32_t zero_in)
{
    for (int32_t k = 0; k < classes; k++) {
        int32_t sum = bias[k];
        for (int32_t i = 0; i < n_values; i++)
            sum += (in[i] - zero_in) * *weight++;
        logits[k] = (int32_t)rescale(sum, multiplier[k], shift);
    }
}""",
    "classify_means": """\
/* Global average pooling and a linear layer in one, so that the sums of the channels are not rounded. */
static void classify_means(const int8_t *in, int32_t *logits, int32_t n_pixels, int32_t channels, int32_t classes,
                           const int8_t *weight, const int32_t *bias, const int32_t *multiplier, int32_t shift,
                           int32_t zero_in)
{
    for (int32_t k = 0; k < classes; k++)
        logits[k] = bias[k];
    for (int32_t c = 0; c < channels; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < n_pixels; i++)
            sum += in[i * channels + c] - zero_in;
        for (int32_t k = 0; k < classes; k++)
            logits[k] += sum * weight[k * channels + c];
    }
    for (int32_t k = 0; k < classes; k++)
        logits[k] = (int32_t)rescale(logits[k], multiplier[k], shift);
}""",
}

MAIN = """\
#ifdef MODEL_MAIN
#include <stdio.h>

/* Returns a big-endian number of four bytes, or -1 at the end of the file. */
static int64_t read_number(FILE *file)
{
    int64_t number = 0;
    for (int i = 0; i < 4; i++) {
        const int byte = getc(file);
        if (byte == EOF)
            return -1;
        number = number * 256 + byte;
    }
    return number;
}

/* Opens an IDX file of unsigned bytes whose items have the sizes in axes. Returns the number of items. If the file
 * cannot be opened or has another format, prints a message and returns -1. */
static int64_t open_idx(FILE **file, const char *path, const int32_t *axes, int n_axes)
{
    *file = fopen(path, "rb");
    if (*file == NULL) {
        fprintf(stderr, "%s: cannot be opened\\n", path);
        return -1;
    }
    int is_valid = read_number(*file) == 0x0801 + n_axes;
    const int64_t n_items = read_number(*file);
    for (int i = 0; i < n_axes; i++)
        is_valid = read_number(*file) == axes[i] && is_valid;
    if (!is_valid || n_items < 1) {
        fprintf(stderr, "%s: not an IDX file of %s\\n", path, n_axes ? "IMAGES_NAME images" : "labels");
        return -1;
    }
    return n_items;
}

int main(int argc, char **argv)
{
    static const int32_t axes[] = {IMAGE_AXES};
    static uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH];
    FILE *images, *labels;
    if (argc != 3) {
        fprintf(stderr, "usage: %s IMAGES LABELS (IDX files, the format of MNIST)\\n", argv[0]);
        return 2;
    }
    const int64_t n_images = open_idx(&images, argv[1], axes, (int)(sizeof axes / sizeof axes[0]));
    const int64_t n_labels = n_images < 0 ? -1 : open_idx(&labels, argv[2], axes, 0);
    if (n_labels < 0)
        return 2;
    if (n_images != n_labels) {
        fprintf(stderr, "%s: not as many labels as there are images\\n", argv[2]);
        return 2;
    }
    long n_correct = 0;
    for (int64_t i = 0; i < n_images; i++) {
        const int label = getc(labels);
        if (label == EOF || fread(image, sizeof image, 1, images) != 1) {
            fprintf(stderr, "%s: ends too early\\n", argv[label == EOF ? 2 : 1]);
            return 2;
        }
        n_correct += model_predict(image) == label;
    }
    printf("%ld of %ld right, %.2f %%\\n", n_correct, (long)n_images, 100.0 * (double)n_correct / (double)n_images);
    return 0;
}
#endif"""
