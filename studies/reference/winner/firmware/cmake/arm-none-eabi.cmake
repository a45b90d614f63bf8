# Toolchain of a Cortex-M4 without floating point. For another core, change -mcpu, and the machine of QEMU: mps2-an385
# for cortex-m3, mps2-an500 for cortex-m7. "rdimon" is newlib's library for output through a debugger or QEMU.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_C_FLAGS_INIT "-mcpu=cortex-m4 -mthumb -ffunction-sections -fdata-sections")
# CMake's default -O3 makes the code several times as large and hardly faster.
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "Flags of release builds")
set(CMAKE_EXE_LINKER_FLAGS_INIT "--specs=rdimon.specs -Wl,--gc-sections")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-system-arm -machine mps2-an386 -nographic -semihosting -kernel)
