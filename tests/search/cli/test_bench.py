"""`search.py bench`: what it reports, and what is left of it when it is ended."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.kills import children
from models.cost import compute_cost
from search.cli import bench
from search.cli.main import main
from search.engine import benchmark
from search.engine.benchmark import NETWORKS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("loop_flops", [4e9, None])
def test_bench_reports_all_its_keys(loop_flops, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(benchmark.Images, "load", lambda _images: benchmark.noise())
    monkeypatch.setattr(bench, "usual_epoch", lambda _spec, _data, loaders: 6.0 + loaders)
    monkeypatch.setattr(bench, "matrix_flops", lambda _n: 1e9)
    monkeypatch.setattr(bench, "multiply_add_flops", lambda _n: loop_flops)
    monkeypatch.setattr(bench, "Team", FakeTeam)
    assert main(["bench", "--json", "--repeats", "3", "--data-dir", str(tmp_path)]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    lines = output.err.splitlines()
    assert len(lines) == 1 + 3 * 3 * 4
    assert lines[1] == "s004_net3 1/3: usual loop, 0 loader workers: 6.00 s an epoch"
    assert lines[-1].startswith("separable 3/3: engine, ")
    macs = compute_cost(NETWORKS["s004_net3"]).macs
    n = found["n_cores"]
    assert found["usual_s_per_epoch"] == 6.0
    assert found["usual_loader_workers"] == 0
    assert found["engine_s_per_epoch"] == 2.0
    assert found["parallel_s_per_epoch"] == 3.0 / n
    assert found["ratio_single"] == 3.0
    assert found["ratio_parallel"] == 6.0 / (3.0 / n)
    peak = loop_flops or 1e9
    assert found["floor_s_per_epoch"] == pytest.approx(2 * macs * 190_000 / peak)
    assert found["floor_fraction_single"] == pytest.approx(macs * 380_000 / peak / 2)
    assert found["matrix_gflops"] == 1.0
    assert found["multiply_add_gflops"] == (loop_flops and 4.0)
    assert found["worker_peak_mib"] == 700.0
    assert list(found["networks"]) == ["s004_net3", "s000_net", "separable"]


class FakeTeam:
    """Stands in for processes: an epoch takes 2 s with all cores and 3 s with one."""

    def __init__(self, _images, n_processes):
        self.n_processes = n_processes

    def wait_until_ready(self):
        pass

    def measure(self, _name, n_threads, n_processes):
        assert {n_threads, n_processes} == {1, self.n_processes}
        return [(2.0, 600.0)] if n_processes < n_threads else [(3.0, 700.0)] * n_processes

    def end(self):
        pass


def test_unknown_network(capsys) -> None:
    assert main(["bench", "--network", "vgg"]) == 2
    message = "search.py: no network 'vgg' to measure; there are s004_net3, s000_net, separable\n"
    assert capsys.readouterr().err == message


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@contextmanager
def benchmark_with_workers():
    """Run a benchmark of few images in a session of its own, until its workers have loaded their images."""
    command = [sys.executable, "search.py", "bench", "--images", "200", "--repeats", "1000", "--network", "separable"]
    hears = {"start_new_session": True, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes, **hears) as process:
        try:
            assert any("separable 1/1000: engine" in line for line in process.stderr)
            yield process
        finally:
            process.kill()


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        (lambda process: process.send_signal(signal.SIGINT), 130, "search.py: interrupted\n"),
        (lambda process: process.send_signal(signal.SIGTERM), 130, "search.py: interrupted\n"),
        (lambda process: os.killpg(process.pid, signal.SIGINT), 130, "search.py: interrupted\n"),
        (lambda process: process.kill(), -signal.SIGKILL, ""),
        (
            lambda process: os.kill(children(process.pid)[-1], signal.SIGKILL),
            1,
            "search.py: a process of the benchmark was ended, perhaps for lack of memory\n",
        ),
    ],
    ids=["SIGINT", "SIGTERM", "Ctrl-C", "SIGKILL", "a worker"],
)
def test_a_benchmark_that_is_ended_leaves_no_process_behind(end, status, message) -> None:
    with benchmark_with_workers() as process:
        workers = children(process.pid)
        end(process)
        rest = process.stderr.read()  # until the last process that holds it has ended
        process.wait(60)
    assert workers
    assert not any(map(is_running, workers))
    said = "".join(line for line in rest.splitlines(keepends=True) if not line.startswith("separable"))
    assert (process.returncode, said) == (status, message)


def is_running(pid: int) -> bool:
    """Return whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_terminal_shows_what_is_measured_and_the_time_left(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(bench.time, "monotonic", lambda: now)
    shown: list[str] = []
    with bench._Progress(4) as progress:
        monkeypatch.setattr(progress._bar, "set_description_str", shown.append)
        progress.show("loading")
        progress.end("loaded")
        now = 20.0
        progress.show("the loop")
    assert shown == ["0/4 measured | loading", "1/4 measured, about 1 min 0 s left | the loop"]
