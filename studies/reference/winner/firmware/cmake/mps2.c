/* Vector table of the emulated board mps2-an386. A real board has one in its start-up code; leave this file out there. */
#include <stdint.h>

extern uint32_t stack_top[]; /* from the linker script */
extern void _start(void); /* of newlib, which calls main */

static void fault(void)
{
    for (;;)
        ;
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, _start, fault, fault, fault, fault, fault, fault,
    fault,     fault,  fault, fault, fault, fault, fault, fault};
