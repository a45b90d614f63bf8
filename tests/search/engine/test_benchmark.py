"""The measurements of the benchmark on few images: that they run, not how fast anything is."""

import torch

from models.build import build_model
from models.cost import compute_cost
from models.recipe import Augmentation, RecipeConfig
from search.engine import benchmark
from search.engine.benchmark import NETWORKS, Images, engine_epoch, matrix_flops, multiply_add_flops, usual_epoch
from search.engine.native import kernels
from search.engine.train import train
from search.engine.usual_loop import train_usually
from tests.search.made_up_trainings import made_up_data, network


def test_an_epoch_of_each_loop_on_few_images(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    data = Images(str(tmp_path), 256)
    monkeypatch.setattr(benchmark, "resolve_auto", lambda config: (config, ""))
    assert len(data.load().train) == 256
    seconds, mib = engine_epoch("separable", data.load(), 1)
    assert 0 < seconds < 60
    assert 50 < mib < 8000
    assert 0 < usual_epoch(NETWORKS["separable"], data.load(), 0) < 60
    assert matrix_flops(1, side=100, repeats=1) > 1e6
    flops = multiply_add_flops(2, rounds=1000, repeats=1)
    assert flops is None if kernels.load() is None else flops is not None and 1e6 < flops < 1e14


def test_the_measured_networks_are_small_wide_and_separable() -> None:
    n_params = {name: compute_cost(spec).n_params for name, spec in NETWORKS.items()}
    assert n_params["s004_net3"] == 7496
    assert n_params["s000_net"] == 18_662
    assert 7000 < n_params["separable"] <= 8000
    for spec in NETWORKS.values():
        build_model(spec)


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
