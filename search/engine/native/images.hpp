// Reading of a batch: images are picked, changed at random, normalised and arranged in blocks.

#pragma once

#include "out_of_memory.hpp"
#include "vectors.hpp"

enum Interpolation : int32_t { NO_WARP, NEAREST, BILINEAR };

// Images of a data set, and the steps that change them. Mirrored in search/engine/native/structures.py.
struct Images {
    const uint8_t* pixels;  // (number, channels, height, width)
    const int64_t* labels;  // (number,)
    const float *mean, *deviation;
    int32_t channels, height, width;
    int32_t mirror, brightness, contrast, crop_side, crop_padding;  // 0 if the step is left out
    int32_t warp, erase;                                            // likewise; warp: Interpolation
    float fill;

    int plane() const { return (height + 2) * pitch(); }
    int pitch() const { return width + 2; }
};

// Draws for one image; search.engine.augment explains the steps. The position in the image that a pixel at
// (column, row) is taken from is (xx * column + xy * row + x, yx * column + yy * row + y).
struct Change {
    float mirror, brightness, contrast, brightness_first, crop, crop_x, crop_y;
    float xx, xy, x, yx, yy, y;
    float top, left, height, width;
};

// Writes the images of `index`, changed as `changes` says, to blocks. changes may be null, for images as they are.
void read_images(const Images& images, const int64_t* index, const Change* changes, int n, Vec* to, int threads,
                 OutOfMemory& memory);
