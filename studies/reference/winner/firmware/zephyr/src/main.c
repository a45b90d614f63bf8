/* Runs the self-test of the network, and prints its result. */
#include <zephyr/sys/printk.h>

#include "model_test.h"

int main(void)
{
    const int number = model_self_test();
    if (number == 0)
        printk("self-test: %d images have the expected logits\n", MODEL_TEST_IMAGES);
    else
        printk("self-test: image %d has other logits than expected\n", number);
    return 0;
}
