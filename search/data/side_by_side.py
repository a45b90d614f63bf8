"""Work off batches in processes side by side, on all cores."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import TypeVar

from search.cores import n_cores

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def n_processes_at_most() -> int:
    """Return the number of cores on which this process may start others; 1 where none can be forked."""
    if sys.platform != "linux" or multiprocessing.current_process().daemon:
        return 1
    return n_cores()


def work_off(
    work: Callable[[Batch], Result], batches: Sequence[Batch], n_processes: int, receive: Callable[[Result], None]
) -> None:
    """Call `receive` in this process with `work(batch)` of every batch, in any order.

    The work is done by forked processes, so it must not use the threads of this one. It is done here where one process
    is enough, and for batches whose process died, for example for lack of memory.
    """
    left = set(range(len(batches)))
    if n_processes > 1:
        _work_off_forked(work, batches, min(n_processes, len(batches)), receive, left)
    for number in sorted(left):
        receive(work(batches[number]))


def _work_off_forked(
    work: Callable[[Batch], Result],
    batches: Sequence[Batch],
    n_processes: int,
    receive: Callable[[Result], None],
    left: set[int],
) -> None:
    """Do the same in forked processes, and take the numbers of the batches that are done out of `left`."""
    context = multiprocessing.get_context("fork")
    receivers: list[Connection] = []
    processes = []
    try:
        for first in range(n_processes):
            receiver, sender = Pipe(duplex=False)
            receivers.append(receiver)
            numbers = range(first, len(batches), n_processes)
            process = context.Process(
                target=_send_results, args=(work, batches, numbers, sender, receivers), daemon=True
            )
            with warnings.catch_warnings(), suppress(OSError):  # the batches of a process that cannot start are left
                warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which are not used
                process.start()
                processes.append(process)
            sender.close()
        while receivers:
            for ready in wait(receivers):
                assert isinstance(ready, Connection)
                try:
                    number, result = ready.recv()
                except (EOFError, OSError):
                    receivers.remove(ready)
                    ready.close()
                    continue
                receive(result)
                left.discard(number)
    finally:
        for process in processes:
            process.terminate()
            process.join()
        for receiver in receivers:
            receiver.close()


def _send_results(
    work: Callable[[Batch], Result],
    batches: Sequence[Batch],
    numbers: Sequence[int],
    sender: Connection,
    receivers: Sequence[Connection],
) -> None:
    """Send (number, result) of some batches through a pipe, and end with the process that reads it."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process gets Ctrl-C too, and ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    for receiver in receivers:  # an end that is open here would keep the pipes of others alive
        receiver.close()
    with suppress(Exception):  # the main process repeats the work of a batch that fails, and has its error
        for number in numbers:
            sender.send((number, work(batches[number])))
