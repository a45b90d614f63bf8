#include "scratch.hpp"

#include <cstdlib>
#include <new>

Vec* scratch(Scratch slot, size_t vectors) {
    struct Buffer {
        void* memory = nullptr;
        size_t bytes = 0;
        ~Buffer() { std::free(memory); }
    };
    thread_local Buffer buffers[SCRATCHES];
    Buffer& buffer = buffers[slot];
    if (buffer.bytes < vectors * sizeof(Vec)) {
        const size_t bytes = (vectors * sizeof(Vec) + 63) / 64 * 64;
        std::free(buffer.memory);
        buffer.memory = std::aligned_alloc(64, bytes);
        buffer.bytes = buffer.memory ? bytes : 0;
        if (!buffer.memory) throw std::bad_alloc();
    }
    return (Vec*)buffer.memory;
}
