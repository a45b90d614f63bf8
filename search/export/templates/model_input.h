/* Conversion of a grey picture of any size to the input of the network. The exported Python file converts picture files
 * in the same way.
 *
 * It needs no library and no memory besides the two images. Include this file in one source file. */
#ifndef MODEL_INPUT_H
#define MODEL_INPUT_H

#include "model.h"

/* Largest side of a picture, in pixels. */
#define MODEL_INPUT_MAX_SIDE 2048

$settings
/* Part of a picture that is scaled to `rows` times `columns` pixels. If `contrast` is not 0, levels are replaced by
 * their differences from `border`, so that the difference `contrast` becomes 255; small differences become 0. */
typedef struct {
    const uint8_t *pixels; /* the upper left pixel of the part */
    int32_t stride, height, width, rows, columns, border, contrast;
} model_input_part;

static inline int32_t model_input_level(const model_input_part *part, int32_t y, int32_t x)
{
    const int32_t level = part->pixels[y * part->stride + x];
    if (part->contrast == 0)
        return level;
    const int32_t difference = level < part->border ? part->border - level : level - part->border;
    return 4 * difference < part->contrast ? 0 : 255 * difference / part->contrast;
}

/* Returns the mean level of the area that a pixel of the scaled part covers. */
static inline int32_t model_input_mean(const model_input_part *part, int32_t row, int32_t column)
{
    /* In units in which a pixel of the picture is `rows` high and `columns` wide. */
    const int32_t top = row * part->height, bottom = top + part->height;
    const int32_t left = column * part->width, right = left + part->width;
    uint32_t sum = 0;
    for (int32_t y = top / part->rows; y * part->rows < bottom; y++) {
        const int32_t start = y * part->rows > top ? y * part->rows : top;
        const int32_t end = (y + 1) * part->rows < bottom ? (y + 1) * part->rows : bottom;
        for (int32_t x = left / part->columns; x * part->columns < right; x++) {
            const int32_t first = x * part->columns > left ? x * part->columns : left;
            const int32_t last = (x + 1) * part->columns < right ? (x + 1) * part->columns : right;
            sum += (uint32_t)(model_input_level(part, y, x) * (end - start) * (last - first));
        }
    }
    const uint32_t area = (uint32_t)part->height * (uint32_t)part->width;
    return (int32_t)((sum + area / 2) / area);
}

#ifdef MODEL_INPUT_BACKGROUND
/* Returns the median level along the four sides. */
static inline int32_t model_input_border(const uint8_t *picture, int32_t height, int32_t width)
{
    int32_t median = 0;
    for (int32_t step = 128; step > 0; step /= 2) {
        int32_t n_below = 0;
        for (int32_t y = 0; y < height; y++)
            n_below += (picture[y * width] < median + step) + (picture[(y + 1) * width - 1] < median + step);
        for (int32_t x = 0; x < width; x++)
            n_below += (picture[x] < median + step) + (picture[(height - 1) * width + x] < median + step);
        if (n_below < height + width)
            median += step;
    }
    return median;
}

/* Shrinks the part to its object, the pixels that differ clearly from the border. Returns whether there is one. */
static inline int model_input_find_object(model_input_part *part)
{
    int32_t top = part->height, bottom = 0, left = part->width, right = 0, largest = 0;
    for (int32_t y = 0; y < part->height; y++)
        for (int32_t x = 0; x < part->width; x++) {
            const int32_t difference = model_input_level(part, y, x) - part->border;
            if (difference > largest || -difference > largest)
                largest = difference < 0 ? -difference : difference;
        }
    if (largest == 0)
        return 0;
    part->contrast = largest;
    for (int32_t y = 0; y < part->height; y++)
        for (int32_t x = 0; x < part->width; x++)
            if (model_input_level(part, y, x) > 0) {
                top = y < top ? y : top;
                bottom = y + 1;
                left = x < left ? x : left;
                right = x + 1 > right ? x + 1 : right;
            }
    part->pixels += top * part->stride + left;
    part->height = bottom - top;
    part->width = right - left;
    return 1;
}

/* Returns the first row or column of the object in the image, so that its centre is at `centre`, in half pixels.
 *
 * moment: sum over the object of its weight times the position in half pixels. total: sum of its weight. */
static inline int32_t model_input_start(int32_t centre, int64_t moment, int64_t total)
{
    /* Rounded to the nearest integer; the summand makes the dividend positive. */
    const int64_t dividend = centre * total - moment + total + 2 * total * MODEL_INPUT_MAX_SIDE;
    return (int32_t)(dividend / (2 * total)) - MODEL_INPUT_MAX_SIDE;
}

/* Writes the object of a picture with the size and position of those of the training images.
 *
 * picture: grey levels 0 to 255, row by row, dark on light or light on dark. A picture of the size of the input is only
 * inverted if that is necessary. Returns 0, or -1 for a picture without an object or with a side beyond the maximum. */
static inline int model_input_from_grey(const uint8_t *picture, int32_t height, int32_t width,
                                        uint8_t image[MODEL_HEIGHT * MODEL_WIDTH])
{
    model_input_part part = {picture, width, height, width, 0, 0, 0, 0};
    if (height < 1 || width < 1 || height > MODEL_INPUT_MAX_SIDE || width > MODEL_INPUT_MAX_SIDE)
        return -1;
    part.border = model_input_border(picture, height, width);
    if (height == MODEL_HEIGHT && width == MODEL_WIDTH) {
        const int is_inverted = MODEL_INPUT_BACKGROUND < 128 ? part.border > 127 : part.border < 128;
        for (int32_t i = 0; i < height * width; i++)
            image[i] = (uint8_t)(is_inverted ? 255 - picture[i] : picture[i]);
        return 0;
    }
    if (!model_input_find_object(&part))
        return -1;

    const int32_t longer = part.height > part.width ? part.height : part.width;
    part.rows = (2 * part.height * MODEL_INPUT_EXTENT + longer) / (2 * longer);
    part.columns = (2 * part.width * MODEL_INPUT_EXTENT + longer) / (2 * longer);
    part.rows = part.rows > 0 ? part.rows : 1;
    part.columns = part.columns > 0 ? part.columns : 1;

    int64_t total = 0, moment_y = 0, moment_x = 0;
    for (int32_t y = 0; y < part.rows; y++)
        for (int32_t x = 0; x < part.columns; x++) {
            const int32_t weight = MODEL_INPUT_BY_MASS ? model_input_mean(&part, y, x) : 1;
            total += weight;
            moment_y += weight * (2 * y + 1);
            moment_x += weight * (2 * x + 1);
        }
    if (total == 0)
        return -1;
    const int32_t top = model_input_start(MODEL_INPUT_CENTRE_Y, moment_y, total);
    const int32_t left = model_input_start(MODEL_INPUT_CENTRE_X, moment_x, total);

    const int32_t shade = MODEL_INPUT_BACKGROUND < 128 ? 255 - MODEL_INPUT_BACKGROUND : -MODEL_INPUT_BACKGROUND;
    for (int32_t y = 0; y < MODEL_HEIGHT; y++)
        for (int32_t x = 0; x < MODEL_WIDTH; x++) {
            const int32_t row = y - top, column = x - left;
            const int is_object = row >= 0 && row < part.rows && column >= 0 && column < part.columns;
            const int32_t level = is_object ? model_input_mean(&part, row, column) : 0;
            image[y * MODEL_WIDTH + x] = (uint8_t)(MODEL_INPUT_BACKGROUND + level * shade / 255);
        }
    return 0;
}
#else
/* Writes the middle of a picture, as large a part as has the shape of the input, scaled to the input.
 *
 * picture: grey levels 0 to 255, row by row. Returns 0, or -1 for a picture with a side beyond the maximum. */
static inline int model_input_from_grey(const uint8_t *picture, int32_t height, int32_t width,
                                        uint8_t image[MODEL_HEIGHT * MODEL_WIDTH])
{
    if (height < 1 || width < 1 || height > MODEL_INPUT_MAX_SIDE || width > MODEL_INPUT_MAX_SIDE)
        return -1;
    model_input_part part = {picture, width, height, width, MODEL_HEIGHT, MODEL_WIDTH, 0, 0};
    if (height * MODEL_WIDTH > width * MODEL_HEIGHT)
        part.height = (2 * width * MODEL_HEIGHT + MODEL_WIDTH) / (2 * MODEL_WIDTH);
    else
        part.width = (2 * height * MODEL_WIDTH + MODEL_HEIGHT) / (2 * MODEL_HEIGHT);
    part.pixels += (height - part.height) / 2 * width + (width - part.width) / 2;
    for (int32_t y = 0; y < MODEL_HEIGHT; y++)
        for (int32_t x = 0; x < MODEL_WIDTH; x++)
            image[y * MODEL_WIDTH + x] = (uint8_t)model_input_mean(&part, y, x);
    return 0;
}
#endif

#endif
