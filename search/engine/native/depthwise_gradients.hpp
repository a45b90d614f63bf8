// Both gradients of a depthwise convolution at once: those of its weights and those of its input.

#pragma once

#include "operation.hpp"

// Whether there are loops for a kernel. They need no stride, and the width of the kernel is a constant in them.
bool has_depthwise_gradients(const Kernel& kernel);

// Computes the gradients of `rows` rows of `width` inputs `x` of one channel, and writes them to `to`; adds those of the
// weights, lane by lane, to `sums`.
// results: gradient of the result that the first input contributes to by the first weight, in a map with an edge of
// zeros whose rows are `pitch` apart
void add_depthwise_gradients(const Kernel& kernel, const float* weight, const Vec* x, const Vec* results, int pitch,
                             int rows, int width, Vec* to, Vec* sums);
