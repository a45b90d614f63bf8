// Dense convolutions of whole maps, by the algorithm that is faster for their shape.

#pragma once

#include <optional>

#include "winograd.hpp"

class MapConvolution {
   public:
    // offsets: as for Convolution. The maps of results are height x width.
    MapConvolution(int in_channels, int out_channels, int kernel_height, int kernel_width,
                   const std::vector<int32_t>& offsets, int in_pitch, int height, int width)
        : height(height),
          width(width),
          direct(in_channels, out_channels, kernel_height, kernel_width, offsets, in_pitch) {
        const size_t plane = in_channels > 1 ? offsets[offsets.size() / in_channels] - offsets[0] : 0;
        if (offsets == tap_offsets(in_channels, 3, 3, plane, in_pitch) &&
            Winograd::pays(in_channels, out_channels, height, width))
            winograd.emplace(in_channels, out_channels, plane, in_pitch);
    }

    template <class WeightAt>
    void pack(WeightAt weight_at) {
        if (winograd)
            winograd->pack(weight_at);
        else
            direct.pack(weight_at);
    }

    // Writes the results to y, with rows `pitch` apart and channels `out_channel` apart.
    void run(const Vec* x, const float* bias, Vec* y, int pitch, ptrdiff_t out_channel) const {
        if (winograd)
            winograd->run(x, bias, y, height, width, pitch, out_channel);
        else
            direct.run(x, bias, y, height, width, pitch, out_channel);
    }

   private:
    int height, width;
    Convolution direct;
    std::optional<Winograd> winograd;
};
