/* Integer network that maps images to logits. The comment in model.c states what it needs. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_CHANNELS $channels
#define MODEL_HEIGHT $height
#define MODEL_WIDTH $width
#define MODEL_N_CLASSES $n_classes
$input_note
/* An integer logit times this is approximately the logit of the network in floating point. */
#define MODEL_LOGIT_SCALE $scale
/* Bytes of working memory for one image. They need no alignment and no initial values. */
#define MODEL_ARENA_BYTES $arena_bytes

/* Qualifier of all constants. On AVR it keeps them in flash; define it before this line to place them elsewhere. */
#ifndef MODEL_FLASH
#if defined(__AVR__) && !defined(__cplusplus)
#define MODEL_FLASH __flash
#else
#define MODEL_FLASH
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if !defined(__AVR__) || !defined(__cplusplus) /* C++ has no access to the flash of an AVR */
/* Names of the classes, in the order of the logits. */
extern const MODEL_FLASH char MODEL_CLASSES[MODEL_N_CLASSES][$name_bytes];
#endif

/* Computes the logits of an image. The arena has MODEL_ARENA_BYTES bytes and belongs to the caller. Nothing else is
 * written, so threads may each use an arena. */
void model_logits_in(int8_t *arena, const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH],
                     int32_t logits[MODEL_N_CLASSES]);

/* Returns the index of the class with the largest logit, from 0; of equal logits the first. Unless `margin` is a null
 * pointer, it receives the distance of that logit from the second largest. The smaller it is, the less certain is the
 * answer: times MODEL_LOGIT_SCALE, it is about the logarithm of how much more probable the class is than the second. */
int model_answer(const int32_t logits[MODEL_N_CLASSES], uint32_t *margin);

/* Returns the answer for an image. */
int model_predict_in(int8_t *arena, const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH]);

/* The same with a static arena. These two functions are not re-entrant. Define MODEL_NO_ARENA to leave both and the
 * arena out, and MODEL_ARENA_ATTRIBUTE to place the arena, as in __attribute__((section(".ccmram"))). */
#ifndef MODEL_NO_ARENA
void model_logits(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH], int32_t logits[MODEL_N_CLASSES]);
int model_predict(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH]);
#endif

#ifdef __cplusplus
}
#endif

#endif
