/* Runs the self-test of the network, and prints its result. */
#include <stdio.h>

#include "model_test.h"

int main(void)
{
    const int number = model_self_test();
    if (number == 0)
        printf("self-test: %d %s the expected logits\n", MODEL_TEST_IMAGES,
               MODEL_TEST_IMAGES == 1 ? "image has" : "images have");
    else
        printf("self-test: image %d has other logits than expected\n", number);
    return number != 0;
}
