// Loops whose items several threads share. Every item is computed by one thread, so their number changes no result.

#pragma once

#include <algorithm>
#include <atomic>

#include "out_of_memory.hpp"

constexpr int MOST_THREADS = 64;

// Items of a loop. Each thread has a share of them, which it begins with, so that from loop to loop it finds the same
// images in its cache. Then it takes what the other threads have not begun: one that is given no core delays nobody.
class Shares {
  public:
    Shares(int items, int threads) : threads(threads) {
        for (int i = 0; i < threads; ++i) {
            shares[i].next = (int)((int64_t)items * i / threads);
            shares[i].end = (int)((int64_t)items * (i + 1) / threads);
        }
    }

    // Returns an item that `thread` is to compute, or -1 if all are begun.
    int take(int thread) {
        for (int i = 0; i < threads; ++i) {
            Share& share = shares[(thread + i) % threads];
            if (share.next < share.end) {
                const int item = share.next++;
                if (item < share.end) return item;
            }
        }
        return -1;
    }

  private:
    struct alignas(64) Share {  // a cache line of its own
        std::atomic<int> next;
        int end;
    };
    const int threads;
    Share shares[MOST_THREADS];
};

// Calls run(context, 0) on this thread and run(context, i) on up to threads - 1 others, at the latest until it returns
// on this thread, and waits for them. The threads are kept for the next call, and count subnormal numbers as this one
// does. If another thread is in a call, or no thread can be started, there are fewer.
void run_on_team(int threads, void (*run)(void* context, int thread), void* context);

// Computes the items 0 to count - 1 on up to `threads` threads, with a function that work() returns on each of them.
template <typename Work>
void in_parallel(int count, int threads, OutOfMemory& memory, Work work) {
    threads = std::max(1, std::min({count, threads, MOST_THREADS}));
    if (threads == 1)
        return memory.guard([&] {
            auto compute = work();
            for (int item = 0; item < count; ++item) compute(item);
        });
    struct Context {
        Shares shares;
        OutOfMemory& memory;
        Work& work;
    } context{{count, threads}, memory, work};
    const auto run = [](void* pointer, int thread) {
        Context& c = *(Context*)pointer;
        c.memory.guard([&] {
            int item = c.shares.take(thread);
            if (item < 0) return;
            auto compute = c.work();
            for (; item >= 0; item = c.shares.take(thread)) compute(item);
        });
    };
    run_on_team(threads, run, &context);
}

// Computes the items 0 to count - 1 with compute(item).
template <typename Compute>
void each_in_parallel(int count, int threads, OutOfMemory& memory, Compute compute) {
    in_parallel(count, threads, memory, [&] { return [&](int item) { compute(item); }; });
}
