/* Integer network that maps images to logits. The comment in model.c states what it needs. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_CHANNELS 1
#define MODEL_HEIGHT 28
#define MODEL_WIDTH 28
#define MODEL_N_CLASSES 10
/* An integer logit times this is approximately the logit of the network in floating point. */
#define MODEL_LOGIT_SCALE 5.2143892193992336e-05

#ifdef __cplusplus
extern "C" {
#endif

/* Names of the classes, in the order of the logits. */
extern const char MODEL_CLASSES[MODEL_N_CLASSES][2];

/* Computes the logits of an image: grey levels 0 to 255, stored channel by channel and row by row. Not reentrant,
 * because the maps are in static memory. */
void model_logits(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH], int32_t logits[MODEL_N_CLASSES]);

/* Returns the index of the class with the largest logit, from 0; of equal logits the first. */
int model_predict(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH]);

#ifdef __cplusplus
}
#endif

#endif
