#include "loss.hpp"

#include <cmath>

#include "activations.hpp"

namespace {

// The largest logit of every lane and its class.
struct Largest {
    Vec logit;
    IntVec answer{};

    Largest(const Vec* logits, int classes) : logit(logits[0]) {
        for (int c = 1; c < classes; ++c) {
            const IntVec larger = logits[c] > logit;
            logit = select(larger, logits[c], logit);
            answer = larger ? IntVec{} + c : answer;
        }
    }
};

}  // namespace

Score cross_entropy(const Value& logits, int classes, const int64_t* labels, const int64_t* index, int images,
                    float smoothing) {
    Score score{0, 0};
    const float share = smoothing / (float)classes, mean = 1.0f / (float)images;
    for (int block = 0; block * LANES < images; ++block) {
        const Vec *x = logits.maps + (size_t)block * classes, used = used_lanes(images, block);
        Vec* dx = logits.gradients + (size_t)block * classes;
        const Largest largest_logit(x, classes);
        Vec sum{}, distances{};  // of exp(x - largest), and of x - largest
        for (int c = 0; c < classes; ++c) {
            const Vec distance = x[c] - largest_logit.logit;
            dx[c] = exponential(distance);
            sum += dx[c];
            distances += distance;
        }
        for (int c = 0; c < classes; ++c) dx[c] = (dx[c] / sum - share) * mean * used;
        for (int lane = 0; lane < lanes_in(images, block); ++lane) {
            const int64_t label = labels[index[block * LANES + lane]];
            const float distance = x[label][lane] - largest_logit.logit[lane];
            dx[label][lane] -= (1 - smoothing) * mean;
            score.loss += std::log((double)sum[lane]) - (1 - smoothing) * distance - share * distances[lane];
            score.correct += largest_logit.answer[lane] == label;
        }
    }
    return score;
}

void find_answers(const Vec* logits, int classes, int images, int64_t* answers) {
    for (int block = 0; block * LANES < images; ++block) {
        const Largest largest_logit(logits + (size_t)block * classes, classes);
        for (int lane = 0; lane < lanes_in(images, block); ++lane)
            answers[block * LANES + lane] = largest_logit.answer[lane];
    }
}
