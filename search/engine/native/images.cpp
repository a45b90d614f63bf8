// Picks, changes and normalises images. Each is first unpacked to a plane of floats per channel, with an edge of one
// pixel of the fill around it; then all images of a block are sampled together, one in every lane.

#include "images.hpp"

#include <cmath>

#include "activations.hpp"
#include "team.hpp"
#include "scratch.hpp"

namespace {

// Weights of red, green and blue: ITU-R 601 luma, as GREY_WEIGHTS of search.engine.augment.
constexpr float GREY[3] = {0.2989f, 0.587f, 0.114f};

float clamped(float value) { return std::min(1.0f, std::max(0.0f, value)); }

// The planes of one image.
class Planes {
   public:
    Planes(const Images& images, float* values) : images(images), values(values) {}

    float* row(int channel, int y) const { return values + channel * images.plane() + (y + 1) * images.pitch() + 1; }

    void unpack(const uint8_t* pixels, bool mirrored) const {
        std::fill_n(values, images.channels * images.plane(), images.fill);
        for (int c = 0; c < images.channels; ++c)
            for (int y = 0; y < images.height; ++y, pixels += images.width) {
                float* to = row(c, y);
                for (int x = 0; x < images.width; ++x) to[x] = (float)pixels[x] / 255.0f;
                if (mirrored) std::reverse(to, to + images.width);
            }
    }

    void brighten(float factor) const {
        change([=](float value) { return clamped(value * factor); });
    }

    void set_contrast(float factor) const {
        double grey = 0;
        for (int c = 0; c < images.channels; ++c) {
            double sum = 0;
            for (int y = 0; y < images.height; ++y)
                for (int x = 0; x < images.width; ++x) sum += row(c, y)[x];
            grey += sum / (images.height * images.width) * (images.channels == 3 ? GREY[c] : 1.0 / images.channels);
        }
        const float level = (float)grey;
        change([=](float value) { return clamped(level + factor * (value - level)); });
    }

    // Cuts out the central side x side pixels and resizes them, bilinear, to the full size. copy: memory for a plane.
    void crop(int side, float* copy) const {
        const int top = (int)std::nearbyint((images.height - side) / 2.0);  // rounds half to even, as torchvision does
        const int left = (int)std::nearbyint((images.width - side) / 2.0);
        for (int c = 0; c < images.channels; ++c) {
            std::copy_n(values + c * images.plane(), images.plane(), copy);
            const float* corner = copy + (top + 1) * images.pitch() + left + 1;
            for (int y = 0; y < images.height; ++y) {
                const Position down = position(y, side, images.height);
                const float* upper = corner + down.first * images.pitch();
                const float* lower = corner + down.second * images.pitch();
                for (int x = 0; x < images.width; ++x) {
                    const Position across = position(x, side, images.width);
                    const auto blend = [&](const float* from) {
                        return from[across.first] * (1 - across.share) + from[across.second] * across.share;
                    };
                    row(c, y)[x] = blend(upper) * (1 - down.share) + blend(lower) * down.share;
                }
            }
        }
    }

    // Moves the image by whole pixels, and fills the gap. copy: memory for a plane.
    void move(int right, int down, float* copy) const {
        const int left_out = std::min(std::abs(right), images.width), kept = images.width - left_out;
        const int from = right < 0 ? left_out : 0, to = right < 0 ? 0 : left_out;
        for (int c = 0; c < images.channels; ++c) {
            float* plane = values + c * images.plane();
            std::copy_n(plane, images.plane(), copy);
            std::fill_n(plane, images.plane(), images.fill);
            for (int y = std::max(0, down); y < std::min(images.height, images.height + down); ++y)
                std::copy_n(copy + (y - down + 1) * images.pitch() + 1 + from, kept, row(c, y) + to);
        }
    }

   private:
    // Two neighbours and the share of the second.
    struct Position {
        int first, second;
        float share;
    };

    static Position position(int to, int side, int size) {
        const float at = std::max(0.0f, ((float)to + 0.5f) * ((float)side / (float)size) - 0.5f);
        const int first = std::min((int)at, side - 1);
        return {first, std::min(first + 1, side - 1), at - (float)first};
    }

    template <class F>
    void change(F f) const {
        for (int c = 0; c < images.channels; ++c)
            for (int y = 0; y < images.height; ++y)
                for (int x = 0; x < images.width; ++x) row(c, y)[x] = f(row(c, y)[x]);
    }

    const Images& images;
    float* values;
};

void unpack(const Images& images, int64_t index, const Change* change, float* values, float* copy) {
    const Planes planes(images, values);
    planes.unpack(images.pixels + index * images.channels * images.height * images.width,
                  change && images.mirror && change->mirror > 0);
    if (!change) return;
    const bool contrast_first = images.contrast && change->brightness_first == 0;
    if (contrast_first) planes.set_contrast(change->contrast);
    if (images.brightness) planes.brighten(change->brightness);
    if (images.contrast && !contrast_first) planes.set_contrast(change->contrast);
    if (images.crop_side && change->crop > 0) planes.crop(images.crop_side, copy);
    if (images.crop_padding) planes.move((int)change->crop_x, (int)change->crop_y, copy);
}

// Returns values[offset] of every lane.
Vec gather(const float* values, IntVec offset) {
#if defined(__AVX512F__)
    return (Vec)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), ALL_LANES, (__m512i)offset, values, sizeof(float));
#else
    Vec result;
    for (int lane = 0; lane < LANES; ++lane) result[lane] = values[offset[lane]];
    return result;
#endif
}

// Returns a field of the changes of a block's images, one in every lane.
Vec field(const Change* changes, int lanes, float Change::*name) {
    Vec values{};
    for (int lane = 0; lane < lanes; ++lane) values[lane] = changes[lane].*name;
    return values;
}

IntVec whole(Vec x) { return __builtin_convertvector(x, IntVec); }

// A position along one side, in the planes with their edge: the pixel before it and the share of the pixel after it.
// Positions outside the image read the edge.
struct Neighbours {
    IntVec first;
    Vec share;

    Neighbours(Vec position, int side, bool nearest_pixel) {
        if (nearest_pixel) position = nearest(position);
        position = largest(all(-1), smallest(all((float)side), position)) + 1.0f;
        Vec before = nearest(position - 0.5f);  // the floor, or one less for whole numbers, whose share is then 1
        before = smallest(all((float)side), largest(Vec{}, before));
        first = whole(before);
        share = position - before;
    }
};

// Samples the unpacked images of a block.
class Sampler {
   public:
    Sampler(const Images& images, const Change* changes, int lanes, const float* planes)
        : images(images), changes(changes), planes(planes), used(used_lanes(lanes, 0) > 0.5f) {
        for (int lane = 0; lane < LANES; ++lane)
            first[lane] = lane < lanes ? lane * images.channels * images.plane() : 0;
        if (!changes) return;
        const auto of = [&](float Change::*name) { return field(changes, lanes, name); };
        xx = of(&Change::xx), xy = of(&Change::xy), x0 = of(&Change::x);
        yx = of(&Change::yx), yy = of(&Change::yy), y0 = of(&Change::y);
        top = of(&Change::top), bottom = top + of(&Change::height);
        left = of(&Change::left), right = left + of(&Change::width);
    }

    void run(Vec* to) const {
        const size_t pixels = (size_t)images.height * images.width;
        for (int row = 0; row < images.height; ++row)
            for (int column = 0; column < images.width; ++column, ++to) {
                if (changes && images.warp)
                    warp(row, column, to, pixels);
                else
                    for (int c = 0; c < images.channels; ++c)
                        to[c * pixels] = gather(row_of(c, row) + column, first);
                finish(row, column, to, pixels);
            }
    }

   private:
    const float* row_of(int channel, int row) const {
        return planes + channel * images.plane() + (row + 1) * images.pitch() + 1;
    }

    void warp(int row, int column, Vec* to, size_t pixels) const {
        const Vec x = all((float)column), y = all((float)row);
        const bool nearest_pixel = images.warp == NEAREST;
        const Neighbours across(xx * x + xy * y + x0, images.width, nearest_pixel);
        const Neighbours down(yx * x + yy * y + y0, images.height, nearest_pixel);
        const IntVec offset = first + down.first * images.pitch() + across.first;
        for (int c = 0; c < images.channels; ++c) {
            const float* plane = planes + c * images.plane();
            const auto blend = [&](const float* from) {
                const Vec before = gather(from, offset), after = gather(from + 1, offset);
                return before + (after - before) * across.share;
            };
            const Vec upper = blend(plane), lower = blend(plane + images.pitch());
            to[c * pixels] = upper + (lower - upper) * down.share;
        }
    }

    // Erases, normalises, and clears the idle lanes.
    void finish(int row, int column, Vec* to, size_t pixels) const {
        IntVec kept = used;
        if (changes && images.erase) {
            const Vec x = all((float)column), y = all((float)row);
            kept &= ~((x >= left) & (x < right) & (y >= top) & (y < bottom));  // the mean becomes 0
        }
        for (int c = 0; c < images.channels; ++c)
            to[c * pixels] = select(kept, (to[c * pixels] - images.mean[c]) / images.deviation[c], Vec{});
    }

    const Images& images;
    const Change* changes;
    const float* planes;
    const IntVec used;
    IntVec first;
    Vec xx, xy, x0, yx, yy, y0, top, bottom, left, right;
};

}  // namespace

void read_images(const Images& images, const int64_t* index, const Change* changes, int n, Vec* to, int threads,
                 OutOfMemory& memory) {
    const int blocks = (n + LANES - 1) / LANES, image = images.channels * images.plane();
    each_in_parallel(blocks, threads, memory, [&](int block) {
        const int start = block * LANES, lanes = lanes_in(n, block);
        float* planes = (float*)scratch(IMAGES, (size_t)image + images.plane() / LANES + 1);
        float* copy = planes + (size_t)LANES * image;
        const Change* of_block = changes ? changes + start : nullptr;
        for (int lane = 0; lane < lanes; ++lane)
            unpack(images, index[start + lane], of_block ? of_block + lane : nullptr, planes + lane * image, copy);
        Sampler(images, of_block, lanes, planes)
            .run(to + (size_t)block * images.channels * images.height * images.width);
    });
}
