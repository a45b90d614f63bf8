"""Threads that share the loops of the kernels."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
import torch
from torch import Tensor, nn

from search.engine.native import kernels
from search.engine.native.program import Program
from search.engine.process import subnormals_as_zero

pytestmark = [
    pytest.mark.usefixtures("threads_as_before"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]
SHAPE, N_IMAGES = (1, 40, 40), 640


@pytest.fixture(scope="module")
def program() -> Program:
    return make_program()


def make_program() -> Program:
    """Return a program whose loop is long enough for several threads to take part."""
    model = nn.Conv2d(1, 8, 3, bias=False)
    nn.init.constant_(model.weight, 1e-20)
    return Program(model, SHAPE, N_IMAGES, training=False)


def forward(program: Program, n_threads: int, pixel: float = 1.0) -> Tensor:
    torch.set_num_threads(n_threads)
    return program.forward(torch.full((N_IMAGES, *SHAPE), pixel))


@pytest.mark.parametrize("n_threads", [2, 3, 1000])
def test_every_item_is_computed_once(program: Program, n_threads: int) -> None:
    alone = forward(program, 1)
    for _ in range(5):
        assert torch.equal(forward(program, n_threads), alone)


def test_all_threads_count_subnormal_numbers_as_the_caller_does(program: Program) -> None:
    for _ in range(3):
        kept = forward(program, 4, pixel=1e-20)
        assert (kept > 0).all()
        with subnormals_as_zero():
            assert (forward(program, 4, pixel=1e-20) == 0).all()


def test_callers_on_several_threads(program: Program) -> None:
    expected = forward(program, 1)
    programs = [make_program() for _ in range(4)]
    results: list[Tensor] = []
    callers = [threading.Thread(target=lambda p=p: results.append(forward(p, 3))) for p in programs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 4
    assert all(torch.equal(result, expected) for result in results)


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_has_threads_of_its_own(program: Program) -> None:
    expected = forward(program, 3)
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # ends the process if it waits for threads that it does not have
        # Not through PyTorch, whose own threads the process lacks as well.
        program.library.program_forward(program.handle, N_IMAGES, None, 3)
        os._exit(len(os.listdir("/proc/self/task")))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert torch.equal(forward(program, 3), expected)
