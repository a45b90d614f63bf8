import json
from dataclasses import replace

import plotly.graph_objects
import pytest

from search.config import DataConfig
from search.dashboard.figures import SPAN, figures
from search.report.plot import error
from search.report.summary import summarise
from search.study.trials import REFUSED, STOPPED
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, confirmed, epoch, made_up


def drawn(records=EVERY_OUTCOME, config=CONFIG, **told):
    return figures(summarise("made-up", config, records, **told), records)


def trace(figure, name):
    return next(one for one in figure["data"] if one.get("name", "").startswith(name))


def test_plotly_takes_them_and_writes_them_the_same_every_time():
    found = drawn(importances={"sgd.lr": 0.7, "dropout": 0.3}, **confirmed())
    assert list(found) == ["accuracy-against-parameters", "best-so-far", "importances"]
    for figure in found.values():
        first, second = (plotly.graph_objects.Figure(figure).to_json() for _ in range(2))
        assert first == second
        assert json.loads(first)["data"]


@pytest.mark.parametrize("records", [[], [made_up(0, outcome=REFUSED, reason="too large")]])
def test_without_a_finished_trial_there_is_nothing_to_draw(records):
    assert drawn(records) == {}


def test_accuracy_against_parameters():
    figure = drawn(**confirmed())["accuracy-against-parameters"]
    sizes = {record.number: record.n_params for record in EVERY_OUTCOME}
    finished = trace(figure, "finished")
    assert dict(zip(finished["x"], finished["y"], strict=True))[sizes[8]] == pytest.approx(error(0.9952), abs=1e-4)
    assert all("trial 1," not in text and "trial 1:" not in text for text in finished["text"])
    assert trace(figure, "hand-designed, in this study")["x"] == [7496]
    assert "99.43 % stated" in "".join(trace(figure, "hand-designed, as stated")["text"])
    winner = trace(figure, "winner, mean of fresh seeds")
    assert winner["y"] == [pytest.approx(error(0.9941), abs=1e-4)]
    assert winner["error_y"]["array"][0] > 0
    assert {shape["x0"] for shape in figure["layout"]["shapes"]} == {8000, 0}
    assert "budget of 8,000" in [note["text"] for note in figure["layout"]["annotations"]]


def test_the_front_only_rises():
    front = trace(drawn()["accuracy-against-parameters"], "best of its size")
    assert front["y"] == sorted(front["y"], reverse=True)
    assert front["x"] == sorted(front["x"])
    assert front["x"][-1] == 8000


def test_what_is_stated_of_mnist_is_not_beside_other_data():
    config = replace(CONFIG, data=DataConfig("digits", "data"))
    figure = drawn(config=config)["accuracy-against-parameters"]
    assert trace(figure, "hand-designed, as stated")["x"] == []
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["budget of 8,000"]


def test_best_so_far_tells_refused_from_stopped():
    hopeless = made_up(10, outcome=STOPPED, curve=({**epoch(1, 1.0), "accuracy": 0.2},))
    figure = drawn([*EVERY_OUTCOME, hopeless])["best-so-far"]
    best = trace(figure, "best so far")
    assert best["x"] == [0, 8, 9, 10]
    assert best["y"] == [pytest.approx(value, abs=1e-4) for value in (0.69, 0.48, 0.48, 0.48)]
    edge = SPAN * error(0.9931)
    stopped, refused = trace(figure, "stopped early"), trace(figure, "refused")
    assert (stopped["x"], stopped["y"][1]) == ([2, 10], pytest.approx(edge, abs=1e-3))
    assert "20.00 % after epoch 1, stopped" in stopped["text"][1]
    assert refused["x"] == [1]
    assert "1,000 over the budget" in refused["text"][0]
    assert stopped["marker"]["symbol"] != refused["marker"]["symbol"]


def test_importances_are_the_largest_with_the_largest_on_top():
    shares = {f"dimension {i}": i / 210 for i in range(1, 21)}
    (bars,) = drawn(importances=shares)["importances"]["data"]
    assert bars["y"] == [f"dimension {i}" for i in range(20, 5, -1)]
