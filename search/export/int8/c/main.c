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
        fprintf(stderr, "%s: cannot be opened\n", path);
        return -1;
    }
    int is_valid = read_number(*file) == 0x0801 + n_axes;
    const int64_t n_items = read_number(*file);
    for (int i = 0; i < n_axes; i++)
        is_valid = read_number(*file) == axes[i] && is_valid;
    if (!is_valid || n_items < 1) {
        fprintf(stderr, "%s: not an IDX file of %s\n", path, n_axes ? "$images_name images" : "labels");
        return -1;
    }
    return n_items;
}

int main(int argc, char **argv)
{
    static const int32_t axes[] = {$image_axes};
    static uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH];
    FILE *images, *labels;
    if (argc != 3) {
        fprintf(stderr, "usage: %s IMAGES LABELS (IDX files, the format of MNIST)\n", argv[0]);
        return 2;
    }
    const int64_t n_images = open_idx(&images, argv[1], axes, (int)(sizeof axes / sizeof axes[0]));
    const int64_t n_labels = n_images < 0 ? -1 : open_idx(&labels, argv[2], axes, 0);
    if (n_labels < 0)
        return 2;
    if (n_images != n_labels) {
        fprintf(stderr, "%s: not as many labels as there are images\n", argv[2]);
        return 2;
    }
    long n_correct = 0;
    for (int64_t i = 0; i < n_images; i++) {
        const int label = getc(labels);
        if (label == EOF || fread(image, sizeof image, 1, images) != 1) {
            fprintf(stderr, "%s: ends too early\n", argv[label == EOF ? 2 : 1]);
            return 2;
        }
        n_correct += model_predict(image) == label;
    }
    printf("%ld of %ld right, %.2f %%\n", n_correct, (long)n_images, 100.0 * (double)n_correct / (double)n_images);
    return 0;
}
#endif
