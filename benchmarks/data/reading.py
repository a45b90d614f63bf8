"""Measure how long a data set takes to read, and what its images cost in memory:

    python -m benchmarks.data.reading folder:PATH [mnist ...] [--workers 1 2 8] [--old OLD]

Every figure is of a new main process. It reads the data set twice: first without anything in the cache of decoded
images, and then with what the first left there. Then it hands the images to workers as a search does, and each of them
looks at every pixel; a single worker is the main process itself. Memory is the proportional set size (PSS, of
/proc/PID/smaps_rollup) of the main process, the workers and the server that they are forked from, in which memory
shared by n processes counts 1/n in each. With --old, the same is measured with the source in another folder as well.
Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def look(training: Any, config: Any, answers: Connection) -> None:
    """In a worker: look at every pixel of the data set, report readiness, and wait until the pipe is closed."""
    import torch

    torch.set_num_threads(1)
    data = training.data(config)
    for split in (data.train, data.test):
        for images in torch.split(split.images, 1000):
            images.max()
    answers.send(data.checksum)
    answers.recv()


def measure(dataset: str, n_workers: int) -> dict[str, Any]:
    """Return seconds, processor seconds, checksum and MiB of a data set that `n_workers` have."""
    from search.config import DataConfig, data_directory
    from search.data.load import load_dataset
    from search.study.training import RecordedTraining
    from search.workers.processes import spawn, stop

    config = DataConfig.named(dataset, data_directory(None))
    began, began_cpu = time.perf_counter(), _processor_seconds()
    data = load_dataset(config)
    seconds, cpu = time.perf_counter() - began, _processor_seconds() - began_cpu
    training, checksum = RecordedTraining(), data.checksum
    if n_workers > 1 and hasattr(training, "share"):
        data = training.share(config, data)
    pipes = [Pipe() for _ in range(n_workers if n_workers > 1 else 0)]
    processes = [spawn(look, training, config, sender) for _, sender in pipes]
    try:
        assert all(receiver.recv() == checksum for receiver, _ in pipes)
        pids = {os.getpid(), *(process.pid for process in processes)}
        pids |= {_parent(process.pid) for process in processes}
        return {"seconds": seconds, "cpu": cpu, "checksum": checksum, "memory": sum(map(_memory, pids))}
    finally:
        stop(processes)


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measured(tree: Path, cache: str, dataset: str, n_workers: int) -> dict[str, Any]:
    """Return what `measure` finds in a new process with the source in the folder `tree`."""
    variables = os.environ | {"PYTHONPATH": str(tree), "XDG_CACHE_HOME": cache}
    script = shutil.copy(__file__, cache)  # its neighbours would hide packages of their names
    command = [sys.executable, script, dataset, "--measure", str(n_workers)]
    done = subprocess.run(command, cwd=tree, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(dataset: str, trees: Sequence[tuple[str, Path]], workers: Sequence[int]) -> None:
    """Print seconds and memory of a data set with each source."""
    print(f"\n{dataset}\n{'':8}{'seconds':>9}{'cpu':>9}{'again':>9}{'cpu':>9}  MiB of main process and workers")
    print(f"{'':46}{''.join(f'{n:>9}' for n in workers)}", flush=True)
    checksums = set()
    for name, tree in trees:
        with tempfile.TemporaryDirectory() as cache:
            first = measured(tree, cache, dataset, workers[0])
            others = [measured(tree, cache, dataset, n) for n in workers]
        checksums |= {found["checksum"] for found in (first, *others)}
        times = "".join(f"{found[key]:9.1f}" for found in (first, others[0]) for key in ("seconds", "cpu"))
        memory = "".join(f"{found['memory']:9.0f}" for found in others)
        print(f"{name:8}{times}  {memory}", flush=True)
    if len(checksums) > 1:
        raise SystemExit("the sources read different images")


def main() -> None:
    """Measure the data sets that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="as --dataset of search.py takes it")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8], metavar="N", help="(default: 1 2 8)")
    parser.add_argument("--old", type=Path, metavar="OLD", help="folder with an earlier source of this project")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.datasets[0], options.measure)))
        return
    trees = [("old", options.old.resolve())] if options.old else []
    for dataset in options.datasets:
        compare(dataset, [*trees, ("this", ROOT)], options.workers)


if __name__ == "__main__":
    main()
