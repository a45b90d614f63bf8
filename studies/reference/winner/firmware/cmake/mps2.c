/* Vector table of the emulated board mps2-an386. A real board has one in its start-up code; leave this file out there. */
#include <stdint.h>

extern uint32_t stack_top[]; /* from the linker script */
extern void _start(void); /* of newlib, which calls main */

/* Ends the emulator with exit status 1, by a call of semihosting that needs no stack. */
__attribute__((naked)) static void fault(void)
{
    __asm__("movs r0, #0x18\n" /* SYS_EXIT */
            "ldr r1, =0x20023\n" /* ADP_Stopped_RunTimeErrorUnknown */
            "bkpt #0xab\n"
            "b .\n"
            ".ltorg");
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, _start, fault, fault, fault, fault, fault, fault,
    fault,     fault,  fault, fault, fault, fault, fault, fault};
