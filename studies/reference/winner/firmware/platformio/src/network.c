/* Compiles the network in this folder, so that each board has an object file of its own. */
#include "../../../model.c"
