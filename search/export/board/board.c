/* Firmware for the boards mps2-an385, mps2-an386 and mps2-an500 as QEMU emulates them. It runs a network on images.
 *
 * The host's file "images" holds the images one after the other. For each the firmware writes its logits and the ticks
 * of a timer to the file "results", as 32-bit numbers, and at the end the bytes of stack that the network used.
 *
 * Define LOGITS (function of the network), IMAGE_BYTES and N_CLASSES. QEMU loads .data and clears .bss. */
#include <stdint.h>

void LOGITS(const uint8_t *image, int32_t *logits);
void reset(void);
void fail(void);

/* Ends of the memory for the stack, from the linker script. */
extern uint32_t stack_bottom[], stack_top[];

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {
    stack_top, {reset, fail, fail, fail, fail, fail, fail, fail, fail, fail, fail, fail, fail, fail, fail}};

/* A timer of the board, which counts down at 25 MHz. */
#define TIMER ((volatile uint32_t *)0x40000000)
enum { TIMER_CONTROL, TIMER_VALUE, TIMER_RELOAD };

#define UNUSED_WORD 0xa5a5a5a5u

/* Calls of the host: semihosting for A-profile, R-profile and M-profile, version 2.0, chapter 7. */
enum { HOST_OPEN = 0x01, HOST_WRITE = 0x05, HOST_READ = 0x06, HOST_EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
enum { EXIT_SUCCESS = 0x20026, EXIT_FAILURE = 0x20023 };

static int32_t call_host(int32_t operation, uintptr_t argument)
{
    register int32_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static int32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uintptr_t arguments[] = {(uintptr_t)name, mode, length};
    return call_host(HOST_OPEN, (uintptr_t)arguments);
}

/* Reads or writes a block, and returns whether it was complete. */
static int transfer(int32_t operation, int32_t file, const void *block, uint32_t n_bytes)
{
    const uintptr_t arguments[] = {(uintptr_t)file, (uintptr_t)block, n_bytes};
    return call_host(operation, (uintptr_t)arguments) == 0;
}

void fail(void)
{
    call_host(HOST_EXIT, EXIT_FAILURE);
    for (;;)
        ;
}

void reset(void)
{
    static uint8_t image[IMAGE_BYTES];
    static int32_t results[N_CLASSES + 1];
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* CPACR: enable the floating-point unit */
    __asm__ volatile("dsb\n\tisb");
#endif
    const int32_t images = open_file("images", 6, READ_BINARY);
    const int32_t output = open_file("results", 7, WRITE_BINARY);
    if (images < 0 || output < 0)
        fail();

    uint32_t *stack_pointer;
    __asm__ volatile("mov %0, sp" : "=r"(stack_pointer));
    for (volatile uint32_t *word = stack_bottom; word < stack_pointer; word++)
        *word = UNUSED_WORD;

    while (transfer(HOST_READ, images, image, IMAGE_BYTES)) {
        TIMER[TIMER_CONTROL] = 0;
        TIMER[TIMER_RELOAD] = TIMER[TIMER_VALUE] = 0xffffffffu;
        TIMER[TIMER_CONTROL] = 1;
        LOGITS(image, results);
        results[N_CLASSES] = (int32_t)(0xffffffffu - TIMER[TIMER_VALUE]);
        if (!transfer(HOST_WRITE, output, results, sizeof results))
            fail();
    }

    const volatile uint32_t *word = stack_bottom;
    while (word < stack_pointer && *word == UNUSED_WORD)
        word++;
    results[0] = (int32_t)((uintptr_t)stack_pointer - (uintptr_t)word);
    if (!transfer(HOST_WRITE, output, results, sizeof results[0]))
        fail();
    call_host(HOST_EXIT, EXIT_SUCCESS);
}
