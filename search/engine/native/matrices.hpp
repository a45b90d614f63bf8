// Products of small matrices.

#pragma once

#include <cstddef>

// A matrix that is read: element (i, j) is values[i * row + j * column].
struct Matrix {
    const float* values;
    ptrdiff_t row, column;

    Matrix(const float* values, ptrdiff_t width) : values(values), row(width), column(1) {}
    Matrix(const float* values, ptrdiff_t row, ptrdiff_t column) : values(values), row(row), column(column) {}
    Matrix transposed() const { return {values, column, row}; }
};

// Writes to = kept * to + factor * left right, where left has `rows` rows and `inner` columns and right has `columns`
// columns. The rows of `to` are `columns` apart.
void multiply(const Matrix& left, const Matrix& right, int rows, int inner, int columns, float* to, float kept = 0,
              float factor = 1);
