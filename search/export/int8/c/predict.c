int model_predict_in(int8_t *arena, const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH])
{
    int32_t logits[MODEL_N_CLASSES];
    int best = 0;
    model_logits_in(arena, image, logits);
    for (int k = 1; k < MODEL_N_CLASSES; k++)
        if (logits[k] > logits[best])
            best = k;
    return best;
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
