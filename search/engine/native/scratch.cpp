#include "scratch.hpp"

#include <cstdlib>

Vec* scratch(Scratch slot, size_t vectors) {
    struct Buffer {
        void* memory = nullptr;
        size_t bytes = 0;
        ~Buffer() { std::free(memory); }
    };
    thread_local Buffer buffers[SCRATCHES];
    Buffer& buffer = buffers[slot];
    if (buffer.bytes < vectors * sizeof(Vec)) {
        std::free(buffer.memory);
        buffer.bytes = (vectors * sizeof(Vec) + 63) / 64 * 64;
        buffer.memory = std::aligned_alloc(64, buffer.bytes);
    }
    return (Vec*)buffer.memory;
}
