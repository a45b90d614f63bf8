// Steps of the optimizers, and the moving average of the weights. Mirrored in search/engine/native/structures.py.

#pragma once

#include <cstdint>

enum OptimizerKind : int32_t { SGD, ADAM, ADAMW, SOAP };

// A parameter, its gradient and the optimizer's states, all of `size` numbers. SOAP treats it as a matrix; covariance
// and basis of a side are (side, side), or null if the side is not rotated.
struct Parameter {
    float *values, *gradient, *mean, *square;
    int64_t size;
    int64_t rows, columns;
    float *left, *left_basis, *right, *right_basis;
};

// A weight or a statistic of batch norm, and its average.
struct Averaged {
    const float* values;
    float* average;
    int64_t size;
};

struct Optimizer {
    int32_t kind, nesterov, n_parameters, n_averaged;
    float weight_decay, beta2, epsilon, covariance_decay;
    const Parameter* parameters;
    const Averaged* averaged;
    float* memory;  // SOAP's, for three matrices of the largest parameter's size
};

// Takes a step as torch.optim.SGD, Adam and AdamW and search.engine.soap do. momentum: SGD's or beta1. number: number
// of the step, from 1.
void take_step(const Optimizer& optimizer, double lr, double momentum, int64_t number);

// Moves the averages towards the values, all the way for a weight of 1.
void move_averages(const Optimizer& optimizer, float weight);

// Adds the gradients to SOAP's covariances.
void add_to_covariances(const Optimizer& optimizer);

// Rotates SOAP's means out of the present basis, or into it.
void rotate_means(const Optimizer& optimizer, bool into);

// Computes SOAP's step of one parameter from its gradient and returns it, in the optimizer's memory.
const float* find_soap_update(const Optimizer& optimizer, const Parameter& parameter, double beta1, double correction1,
                              double correction2);
