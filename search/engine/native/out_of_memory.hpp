// Reports to the caller that a kernel ran out of memory. No exception may leave a parallel region or the library.

#pragma once

#include <atomic>
#include <cstdint>
#include <new>

class OutOfMemory {
  public:
    // Runs `body` unless memory has run out before, on this thread or on another.
    template <typename Body>
    void guard(Body body) {
        if (happened) return;
        try {
            body();
        } catch (const std::bad_alloc&) {
            happened = true;
        }
    }

    // Runs a whole kernel, body(OutOfMemory&), and returns 1 if memory ran out, else 0.
    template <typename Body>
    static int32_t check(Body body) {
        OutOfMemory memory;
        memory.guard([&] { body(memory); });
        return memory.happened;
    }

  private:
    std::atomic<bool> happened{false};
};
