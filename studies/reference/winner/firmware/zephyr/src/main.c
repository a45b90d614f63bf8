/* Runs the self-test of the network, and prints its result. */
#include <zephyr/sys/printk.h>

#include "model_test.h"

int main(void)
{
    const int number = model_self_test();
    if (number == 0)
        printk("self-test: %d %s the expected logits\n", MODEL_TEST_IMAGES,
               MODEL_TEST_IMAGES == 1 ? "image has" : "images have");
    else
        printk("self-test: image %d has other logits than expected\n", number);
    return 0;
}
