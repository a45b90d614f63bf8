#include "optimizers.hpp"

#include <cmath>

namespace {

void sgd(const Optimizer& o, const Parameter& p, float lr, float momentum) {
    for (int64_t i = 0; i < p.size; ++i) {
        const float gradient = p.gradient[i] + o.weight_decay * p.values[i];
        p.mean[i] = momentum * p.mean[i] + gradient;
        p.values[i] -= lr * (o.nesterov ? gradient + momentum * p.mean[i] : p.mean[i]);
    }
}

void adam(const Optimizer& o, const Parameter& p, double lr, double beta1, double correction1, double correction2) {
    const float kept = o.kind == ADAMW ? (float)(1 - lr * o.weight_decay) : 1;
    const float decay = o.kind == ADAM ? o.weight_decay : 0;
    const float new_mean = (float)(1 - beta1), beta2 = o.beta2, new_square = 1 - beta2, epsilon = o.epsilon;
    const float rate = (float)(lr / correction1), root = (float)std::sqrt(correction2);
    for (int64_t i = 0; i < p.size; ++i) {
        const float gradient = p.gradient[i] + decay * p.values[i];
        p.mean[i] += new_mean * (gradient - p.mean[i]);
        p.square[i] = beta2 * p.square[i] + new_square * gradient * gradient;
        p.values[i] = kept * p.values[i] - rate * p.mean[i] / (std::sqrt(p.square[i]) / root + epsilon);
    }
}

}  // namespace

void take_step(const Optimizer& o, double lr, double momentum, int64_t number) {
    const double correction1 = 1 - std::pow(momentum, (double)number);
    const double correction2 = 1 - std::pow((double)o.beta2, (double)number);
    for (const Parameter* p = o.parameters; p < o.parameters + o.n_parameters; ++p) {
        if (o.kind == SGD) {
            sgd(o, *p, (float)lr, (float)momentum);
        } else if (o.kind == SOAP) {
            const float* update = find_soap_update(o, *p, momentum, correction1, correction2);
            const float kept = (float)(1 - lr * o.weight_decay);
            for (int64_t i = 0; i < p->size; ++i) p->values[i] = kept * p->values[i] - (float)lr * update[i];
        } else {
            adam(o, *p, lr, momentum, correction1, correction2);
        }
    }
}

void move_averages(const Optimizer& o, float weight) {
    for (const Averaged* a = o.averaged; a < o.averaged + o.n_averaged; ++a)
        for (int64_t i = 0; i < a->size; ++i)
            a->average[i] = weight < 1 ? a->average[i] + weight * (a->values[i] - a->average[i]) : a->values[i];
}
