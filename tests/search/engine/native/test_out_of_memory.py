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
from torch import Tensor, nn

from search.engine.native import kernels
from search.engine.native.kernels import Kernel, Layer
from search.engine.native.ops import Blocks, average_maps, convolve
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


def first_map(maps: Tensor, conv: nn.Conv2d) -> Tensor:
    layer = Layer(out_channels=1, groups=1, kernel=Kernel(3, 3, 1))
    return convolve(Blocks(maps, LANES), layer, None, conv, None, LIBRARY)[0]


def test_the_mean_of_large_maps() -> None:
    maps = torch.zeros(1).expand(1, 1, 30_000, 30_000, LANES)
    error = in_a_new_thread(lambda: average_maps(Blocks(maps, 1), LIBRARY))
    assert isinstance(error, FailureError)
    assert str(error) == kernels.OUT_OF_MEMORY
    # The next call has what it needs.
    assert float(average_maps(Blocks(torch.ones(1, 1, 3, 3, LANES), 1), LIBRARY).values.sum()) == LANES


@pytest.mark.slow
def test_a_layer_forward_and_backward() -> None:
    # In a process of its own: this one may have kept enough of what other tests have freed.
    program = f"from {__name__} import layer_forward_and_backward as check; check()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def layer_forward_and_backward() -> None:
    torch.set_num_threads(1)
    conv = nn.Conv2d(CHANNELS, 1, 3, padding=1)
    maps = torch.ones(1, CHANNELS, SIDE, SIDE, LANES)
    error = in_a_new_thread(lambda: first_map(maps, conv))
    assert isinstance(error, FailureError)
    result = first_map(maps, conv).sum()
    error = in_a_new_thread(result.backward)
    assert isinstance(error, FailureError)
    assert conv.weight.grad is None
