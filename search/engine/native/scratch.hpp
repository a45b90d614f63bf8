// Scratch memory that a thread keeps between calls.

#pragma once

#include "vectors.hpp"

enum Scratch {
    UNPOOLED,
    READ_MAPS,
    BETWEEN,
    STRIPS,
    GRADIENTS,
    TURNED,
    ROWS,
    ADDED,
    PARAMETERS,
    IMAGES,
    PANEL,
    PHASES,
    WINOGRAD_VALUES,
    WINOGRAD_PRODUCTS,
    SCRATCHES
};

// Returns aligned memory for at least `vectors` vectors, which is not cleared. A slot keeps its memory until it has to
// grow. Throws std::bad_alloc.
Vec* scratch(Scratch slot, size_t vectors);
