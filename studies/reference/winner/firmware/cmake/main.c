/* Runs the self-test of the network, and prints its result. */
#include <stdio.h>

#include "model_test.h"

int main(void)
{
    const int number = model_self_test();
    if (number == 0)
        printf("self-test: %d images have the expected logits\n", MODEL_TEST_IMAGES);
    else
        printf("self-test: image %d has other logits than expected\n", number);
    return number != 0;
}
