/* Sum of the two paths of a residual block, which overwrites the shortcut, and an activation function, or NULL. */
static void add(const int8_t *main_path, int8_t *shortcut, int32_t n_values, int32_t main_multiplier,
                int32_t shortcut_multiplier, int32_t offset, int32_t shift, const MODEL_FLASH int8_t *activation)
{
    for (int32_t i = 0; i < n_values; i++)
        shortcut[i] = saturate((main_path[i] * main_multiplier + shortcut[i] * shortcut_multiplier + offset) >> shift);
    if (activation)
        for (int32_t i = 0; i < n_values; i++)
            shortcut[i] = activation[shortcut[i] + 128];
}
