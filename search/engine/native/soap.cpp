// SOAP: Adam in the eigenbasis of the gradients' covariances. search/engine/soap.py explains the method.

#include <algorithm>
#include <cmath>

#include "matrices.hpp"
#include "optimizers.hpp"

namespace {

// Rotates a matrix of the parameter's shape into the basis, or out of it. between: memory for such a matrix.
void rotate(const Parameter& p, bool into, const float* from, float* to, float* between) {
    const int rows = (int)p.rows, columns = (int)p.columns;
    if (p.left_basis) {
        const Matrix basis(p.left_basis, rows);
        float* result = p.right_basis ? between : to;
        multiply(into ? basis.transposed() : basis, Matrix(from, columns), rows, rows, columns, result);
        from = result;
    }
    if (p.right_basis) {
        const Matrix basis(p.right_basis, columns);
        multiply(Matrix(from, columns), into ? basis : basis.transposed(), rows, columns, columns, to);
    } else if (!p.left_basis) {
        std::copy_n(from, p.size, to);
    }
}

}  // namespace

void add_to_covariances(const Optimizer& o) {
    for (const Parameter* p = o.parameters; p < o.parameters + o.n_parameters; ++p) {
        const int rows = (int)p->rows, columns = (int)p->columns;
        const Matrix gradient(p->gradient, columns);
        const float kept = o.covariance_decay;
        if (p->left) multiply(gradient, gradient.transposed(), rows, columns, rows, p->left, kept, 1 - kept);
        if (p->right) multiply(gradient.transposed(), gradient, columns, rows, columns, p->right, kept, 1 - kept);
    }
}

void rotate_means(const Optimizer& o, bool into) {
    for (const Parameter* p = o.parameters; p < o.parameters + o.n_parameters; ++p) {
        float* rotated = o.memory;
        rotate(*p, into, p->mean, rotated, rotated + p->size);
        std::copy_n(rotated, p->size, p->mean);
    }
}

const float* find_soap_update(const Optimizer& o, const Parameter& p, double beta1, double correction1,
                              double correction2) {
    float *rotated = o.memory, *between = rotated + p.size, *update = between + p.size;
    rotate(p, true, p.gradient, rotated, between);
    const float new_mean = (float)(1 - beta1), beta2 = o.beta2, new_square = 1 - beta2;
    // A schedule may set beta1 to 1; the quotient is then infinite or NaN, as in search/engine/soap.py.
    const float first = (float)correction1, second = (float)correction2, epsilon = o.epsilon;
    for (int64_t i = 0; i < p.size; ++i) {
        const float gradient = rotated[i];
        p.mean[i] += new_mean * (gradient - p.mean[i]);
        p.square[i] = beta2 * p.square[i] + new_square * gradient * gradient;
        rotated[i] = p.mean[i] / first / (std::sqrt(p.square[i] / second) + epsilon);
    }
    rotate(p, false, rotated, update, between);
    return update;
}
