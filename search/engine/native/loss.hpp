// Loss and answers of a batch from its logits, which are maps of one pixel in blocks.

#pragma once

#include "operation.hpp"

struct Score {
    double loss;      // sum over the images
    int64_t correct;  // number of images whose largest logit is that of their class
};

// Computes the cross-entropy with label smoothing and writes the gradient of its mean. labels: of all images of the
// data set, of which the batch has those of `index`.
Score cross_entropy(const Value& logits, int classes, const int64_t* labels, const int64_t* index, int images,
                    float smoothing);

// Writes the class of the largest logit of every image, the first of several.
void find_answers(const Vec* logits, int classes, int images, int64_t* answers);
