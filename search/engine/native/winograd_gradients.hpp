// Gradients of the weights of dense 3x3 convolutions of stride 1 by Winograd's algorithm (winograd.hpp).
//
// The gradients of nine taps are sums of products of pixels and gradients of results. The same pairs of points serve:
// pixels and gradients of a tile are transformed, multiplied at each pair of points, and the products are summed over
// all tiles and images before they are transformed to the taps.

#pragma once

#include "winograd.hpp"

class WinogradGradients {
   public:
    // plane, pitch: distance of the input maps and of their rows, in vectors; gradient_plane, gradient_pitch: those of
    // the gradients of the results, which are `height` x `width`
    WinogradGradients(int in_channels, int out_channels, size_t plane, int pitch, size_t gradient_plane,
                      int gradient_pitch, int height, int width);

    // Whether it is faster than the direct sum, for maps of `height` x `width` results.
    static bool pays(int in_channels, int out_channels, int height, int width);

    // Returns the number of vectors of the sums at the points.
    size_t n_sums() const { return (size_t)POINT_PAIRS * n_channel_tiles * in_channels; }

    // Adds the products of one block of images to `sums`.
    void add(const Vec* x, const Vec* gradients, Vec* sums) const;

    // Writes the gradients of the weights, [output channel][input channel][row][column], from the sums.
    void write(const Vec* sums, float* weights) const;

   private:
    void transform_gradients(const Vec* gradients, int first, int count, Vec* to, size_t step) const;

    const int in_channels, out_channels, n_channel_tiles;
    const size_t plane, gradient_plane;
    const int pitch, gradient_pitch;
    const Tiles tiles;
    const int strip_tiles;  // number of tiles that are transformed at a time
};
