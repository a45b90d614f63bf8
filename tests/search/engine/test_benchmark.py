"""The benchmark programs on few images: what they report, not how fast anything is."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.kills import children
from models.build import build_model
from models.cost import compute_cost
from models.recipe import Augmentation, RecipeConfig
from search.cli.main import main
from search.engine import benchmark as engine
from search.engine.benchmark import NETWORKS, Images, matrix_flops
from search.engine.train import train
from search.engine.usual_loop import train_usually
from tests.search.made_up_trainings import made_up_data, network

ROOT = Path(__file__).resolve().parents[3]


def test_bench_reports_all_its_keys(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(engine, "resolve_auto", lambda config: (config, ""))  # no download
    monkeypatch.setattr(engine.Images, "load", lambda _images: engine._noise())
    monkeypatch.setattr(engine, "_usual_epoch", lambda _spec, _data, loaders: 6.0 + loaders)
    monkeypatch.setattr(engine, "matrix_flops", lambda _n: 1e9)
    monkeypatch.setattr(engine, "get_context", lambda _method: FakeContext())
    assert main(["bench", "--json", "--repeats", "3", "--data-dir", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    macs = compute_cost(NETWORKS["s004_net3"]).macs
    n = found["n_cores"]
    assert found["usual_s_per_epoch"] == 6.0
    assert found["usual_loader_workers"] == 0
    assert found["engine_s_per_epoch"] == 2.0
    assert found["parallel_s_per_epoch"] == 3.0 / n
    assert found["ratio_single"] == 3.0
    assert found["ratio_parallel"] == 6.0 / (3.0 / n)
    assert found["floor_s_per_epoch"] == pytest.approx(2 * macs * 190_000 / 1e9)
    assert found["floor_fraction_single"] == pytest.approx(macs * 380_000 / 1e9 / 2)
    assert found["worker_peak_mib"] == 700.0
    assert list(found["networks"]) == ["s004_net3", "s000_net", "separable"]


class FakeContext:
    """Stands in for processes: an epoch takes 2 s with all cores and 3 s with one."""

    Barrier = staticmethod(lambda _n: None)

    def Pool(self, *_):  # noqa: N802
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def apply(self, _function, arguments):
        assert arguments[2]
        return 2.0, 600.0

    def starmap(self, _function, tasks, chunksize):
        assert chunksize == 1
        assert all(task[1:] == (1, False) for task in tasks)
        return [(3.0, 700.0)] * len(tasks)


def test_an_epoch_of_each_loop_on_few_images(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    data = Images(str(tmp_path), 256)
    monkeypatch.setattr(engine, "resolve_auto", lambda config: (config, ""))
    assert len(data.load().train) == 256
    engine._start_worker(data, None)
    seconds, mib = engine._engine_epoch("separable", 1, True)
    assert 0 < seconds < 60
    assert 50 < mib < 8000
    assert 0 < engine._usual_epoch(NETWORKS["separable"], data.load(), 0) < 60
    assert matrix_flops(1, side=100, repeats=1) > 1e6


def test_the_measured_networks_are_small_wide_and_separable() -> None:
    n_params = {name: compute_cost(spec).n_params for name, spec in NETWORKS.items()}
    assert n_params["s004_net3"] == 7496
    assert n_params["s000_net"] == 18_662
    assert 7000 < n_params["separable"] <= 8000
    for spec in NETWORKS.values():
        build_model(spec)


def test_unknown_network(capsys) -> None:
    assert main(["bench", "--network", "vgg"]) == 2
    message = "search.py: no network 'vgg' to measure; there are s004_net3, s000_net, separable\n"
    assert capsys.readouterr().err == message


def test_the_usual_loop_learns_what_the_engine_learns() -> None:
    data = made_up_data()
    recipe = RecipeConfig(
        epochs=4, batch_size=32, lr=0.1, ema_decay=0.5, label_smoothing=0.05, augmentation=Augmentation(rotation=3.0)
    )
    usual: list[float] = []
    torch.manual_seed(0)
    train_usually(network(), data, recipe, 0, lambda _epoch, accuracy, _seconds: usual.append(accuracy))
    own = [metrics.accuracy for metrics in train(network(), data, recipe).curve]
    assert len(usual) == len(own) == 4
    assert usual[-1] > 0.9
    assert own[-1] > 0.9


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_a_benchmark_that_is_ended_leaves_no_process_behind(stop: signal.Signals) -> None:
    command = [sys.executable, "search.py", "bench", "--images", "2000", "--repeats", "100", "--network", "separable"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        # The workers have loaded their images by then.
        assert any("separable 1/100: engine" in line for line in process.stderr)
        workers = children(process.pid)
        process.send_signal(stop)
        process.stderr.read()  # until the last process that holds it has ended
    assert workers
    assert not any(map(is_running, workers))


def is_running(pid: int) -> bool:
    """Return whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
