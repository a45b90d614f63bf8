int model_answer(const int32_t logits[MODEL_N_CLASSES], uint32_t *margin)
{
    int best = 0;
    int32_t second = INT32_MIN;
    for (int k = 1; k < MODEL_N_CLASSES; k++)
        if (logits[k] > logits[best]) {
            second = logits[best];
            best = k;
        } else if (logits[k] > second) {
            second = logits[k];
        }
    if (margin)
        *margin = (uint32_t)logits[best] - (uint32_t)second;
    return best;
}

int model_predict_in(int8_t *arena, const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH])
{
    int32_t logits[MODEL_N_CLASSES];
    model_logits_in(arena, image, logits);
    return model_answer(logits, 0);
}

#ifndef MODEL_NO_ARENA
#ifndef MODEL_ARENA_ATTRIBUTE
#define MODEL_ARENA_ATTRIBUTE
#endif

static int8_t static_arena[MODEL_ARENA_BYTES] MODEL_ARENA_ATTRIBUTE;

void model_logits(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH], int32_t logits[MODEL_N_CLASSES])
{
    model_logits_in(static_arena, image, logits);
}

int model_predict(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH])
{
    return model_predict_in(static_arena, image);
}
#endif
