// Memory that a thread keeps between calls.

#pragma once

#include "vectors.hpp"

enum Scratch { UNPOOLED, READ, BETWEEN, STRIPS, GRADIENTS, TURNED, SCRATCHES };

// At least `vectors` of it, aligned, with whatever was left there; a slot keeps what it has until it must grow.
// Throws std::bad_alloc.
Vec* scratch(Scratch slot, size_t vectors);
