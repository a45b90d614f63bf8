"""Compile a generated model.c for microcontrollers, and run it on boards that QEMU emulates."""
