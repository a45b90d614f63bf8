"""Kernels that get no memory say so; they do not crash."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from search.engine.native import kernels
from search.engine.native.program import Program
from search.errors import FailureError

ROOT = Path(__file__).resolve().parents[4]
LIBRARY = kernels.load()
STATM = Path("/proc/self/statm")
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(LIBRARY is None, reason=f"no kernels here: {kernels.problem()}"),
    pytest.mark.skipif(not STATM.exists(), reason="needs a limit on memory as Linux has it"),
]
LANES = LIBRARY.lanes() if LIBRARY else 1
SIDE = 64
# A layer reads this many maps into scratch memory, 96 MiB: more than the limit leaves.
CHANNELS = 6144 // LANES


@contextmanager
def scarce_memory(mebibytes: int = 48) -> Iterator[None]:
    """Let the process have so much more memory and no more."""
    in_use = int(STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (mebibytes << 20), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def in_a_new_thread(call: Callable[[], object]) -> BaseException | None:
    """Return what `call` raises where no kernel has kept memory yet."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with scarce_memory():
                call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors[0] if errors else None


def test_a_program_that_does_not_fit() -> None:
    channels = 40 * CHANNELS  # more than tests before may have freed
    error = in_a_new_thread(lambda: Program(nn.Conv2d(channels, 1, 1), (channels, SIDE, SIDE), LANES, training=False))
    assert isinstance(error, FailureError)
    assert str(error) == kernels.OUT_OF_MEMORY
    # The next one has what it needs.
    program = Program(nn.Identity(), (1, 3, 3), LANES, training=False)
    assert program.forward(torch.ones(LANES, 1, 3, 3)).sum() == 9 * LANES


@pytest.mark.slow
def test_a_layer_forward_and_backward() -> None:
    # In a process of its own: this one may have kept enough of what other tests have freed.
    program = f"from {__name__} import layer_forward_and_backward as check; check()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def layer_forward_and_backward() -> None:
    torch.set_num_threads(1)
    program = Program(nn.Conv2d(CHANNELS, 1, 3, padding=1), (CHANNELS, SIDE, SIDE), LANES, training=True)
    x = torch.ones(LANES, CHANNELS, SIDE, SIDE)
    run, threads = program.library.program_forward, torch.get_num_threads()
    error = in_a_new_thread(lambda: run(program.handle, LANES, None, threads))
    assert isinstance(error, FailureError)
    gradient = torch.ones_like(program.forward(x))
    error = in_a_new_thread(lambda: program.library.program_backward(program.handle, threads))
    assert isinstance(error, FailureError)
    program.backward(gradient)
