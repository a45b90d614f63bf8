/* Images of the test set with the logits that the network computes for them, and a self-test of processor and compiler.
 *
 * Include this file in one source file, on AVR in a C file. The images take $image_bytes bytes of flash. */
#ifndef MODEL_TEST_H
#define MODEL_TEST_H

#include "model.h"

#define MODEL_TEST_IMAGES $n_images

static const MODEL_FLASH uint8_t model_test_images[MODEL_TEST_IMAGES][MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH] = {
$images
};

static const MODEL_FLASH int32_t model_test_logits[MODEL_TEST_IMAGES][MODEL_N_CLASSES] = {
$logits
};

/* Returns 0 if the network computes these logits to the last bit, otherwise the number of the first image, from 1, for
 * which it computes others. If `arena` is a null pointer, the static arena is used. */
static inline int model_self_test_in(int8_t *arena)
{
    for (int i = 0; i < MODEL_TEST_IMAGES; i++) {
        int32_t logits[MODEL_N_CLASSES];
#if defined(__AVR__) && !defined(__cplusplus)
        static uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH]; /* the images are in flash */
        for (int16_t k = 0; k < MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH; k++)
            image[k] = model_test_images[i][k];
#else
        const uint8_t *image = model_test_images[i];
#endif
#ifndef MODEL_NO_ARENA
        if (!arena)
            model_logits(image, logits);
        else
#endif
            model_logits_in(arena, image, logits);
        for (int k = 0; k < MODEL_N_CLASSES; k++)
            if (logits[k] != model_test_logits[i][k])
                return i + 1;
    }
    return 0;
}

#ifndef MODEL_NO_ARENA
/* The same with the static arena. */
static inline int model_self_test(void)
{
    return model_self_test_in(0);
}
#endif

#endif
