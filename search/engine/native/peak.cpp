// A loop of multiply-adds that nothing but their number slows down, to measure the peak of the processor.

#include "vectors.hpp"

namespace {

// More independent sums than a processor has multiply-adds in flight; they fit in registers on all of them.
constexpr int SUMS = 12;

}  // namespace

extern "C" {

// Runs `rounds` rounds on one thread and returns the number of multiply-adds of single floats.
int64_t peak_run(int64_t rounds) {
    // The compiler does not know the value of a volatile variable. It could otherwise leave the loop out, or sums that
    // it finds to be equal.
    static volatile float result;
    Vec sums[SUMS], factor = all(0.5f + result), addend = all(0.25f + result);
    for (int i = 0; i < SUMS; ++i) sums[i] = all((float)i + result);
    for (int64_t round = 0; round < rounds; ++round) UNROLL
        for (int i = 0; i < SUMS; ++i) sums[i] = sums[i] * factor + addend;
    Vec total{};
    for (int i = 0; i < SUMS; ++i) total += sums[i];
    result = sum_lanes(total) * 0;
    return rounds * SUMS * LANES;
}

}  // extern "C"
