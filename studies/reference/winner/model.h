/* The network of model.c: images to logits in integers. See there for what it needs. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_CHANNELS 1
#define MODEL_HEIGHT 28
#define MODEL_WIDTH 28
#define MODEL_N_CLASSES 10
/* A logit of the network in floating point is about its integer times this. */
#define MODEL_LOGIT_SCALE 5.2143892193992336e-05

#ifdef __cplusplus
extern "C" {
#endif

/* The names of the classes, in the order of the logits. */
extern const char MODEL_CLASSES[MODEL_N_CLASSES][2];

/* Grey levels 0 to 255, channel by channel, row by row, to logits. Not to be called twice at the same time. */
void model_logits(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH], int32_t logits[MODEL_N_CLASSES]);

/* The class with the largest logit, the first of equals; from 0. */
int model_predict(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH]);

#ifdef __cplusplus
}
#endif

#endif
