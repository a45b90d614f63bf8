"""A study for each of several budgets as its user runs them, and the table and plot that come of it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import optuna
import pandas as pd
import pytest

from search.cli.frontier import Frontier, write_frontier
from search.cli.main import main
from search.config import DataConfig
from search.data.idx import UnavailableError
from search.data.load import DATASETS
from search.errors import InputError
from search.evidence.confirm import ConfirmPlan, choosing, reporting
from search.evidence.read import repeats_of
from search.evidence.repeats import REPORT
from search.report.frontier import frontier_files, frontier_plot, frontier_table
from search.report.plot import BLUE, GREY, ORANGE
from search.report.summary import StudySummary, summarise
from search.storage.open import open_storage
from search.study import training
from search.study.location import StudyLocation
from search.study.loop import n_trained
from search.study.study import load_study, open_study
from search.study.trials import TrialRecord
from tests.search.made_up_networks import thrifty_spec
from tests.search.made_up_trials import CONFIG, made_up, made_up_results

# Between them lies one hand-designed network, so the smaller budget has what the larger has found for it alone.
BUDGETS = (7200, 8000)
COMMAND = ("frontier", "--budgets", "7200,8000", "--trials", 2, "--epochs", 1, "--jobs", 1)
SVG = "{http://www.w3.org/2000/svg}"
FILES = ("frontier.md", "frontier.csv", "frontier.svg")

pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def digits(out: Path, *arguments: object) -> int:
    return run(*COMMAND, "--dataset", "digits", "--confirm", "1:2", "--out", out, *arguments)


def study(out: Path, name: str) -> optuna.Study:
    return load_study(open_storage(f"sqlite:///{out}/studies.db"), name)


def table(out: Path, name: str = "digits-frontier") -> list[dict[str, str]]:
    with (out / name / "frontier.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Searched:
    """A frontier that was run twice: what its folder held after each run."""

    out: Path
    files: tuple[dict[str, bytes], dict[str, bytes]]
    n_trials: tuple[dict[str, int], dict[str, int]]


@pytest.fixture(scope="module")
def searched(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Searched:  # noqa: ARG001
    out = tmp_path_factory.mktemp("frontier")
    files, n_trials = [], []
    for _ in range(2):
        assert digits(out) == 0
        files.append({str(path): path.read_bytes() for path in out.glob("*/*.*") if path.name != "config.json"})
        storage = open_storage(f"sqlite:///{out}/studies.db")
        names = optuna.get_all_study_names(storage)
        n_trials.append({name: len(load_study(storage, name).trials) for name in names})
    return Searched(out, (files[0], files[1]), (n_trials[0], n_trials[1]))


@pytest.mark.slow
def test_every_budget_has_its_confirmed_study(searched: Searched) -> None:
    names = {f"digits-frontier-{budget}" for budget in BUDGETS}
    assert set(searched.n_trials[0]) == names | {f"{name}-repeats" for name in names}
    for budget in BUDGETS:
        found = study(searched.out, f"digits-frontier-{budget}")
        assert n_trained(found.trials) == 2
        assert all(trial.user_attrs["n_params"] <= budget for trial in found.trials if trial.value is not None)
        assert (searched.out / f"digits-frontier-{budget}" / "winner" / "card.json").is_file()


@pytest.mark.slow
def test_the_smaller_budget_starts_from_what_fits_it(searched: Searched) -> None:
    large, small = (study(searched.out, f"digits-frontier-{budget}").trials for budget in (8000, 7200))
    fitting = [trial for trial in large if trial.value is not None and trial.user_attrs["n_params"] <= 7200]
    adopted = [trial for trial in small if "origin" in trial.user_attrs]
    assert (
        [trial.user_attrs["origin"] for trial in adopted] == [f"digits-frontier-8000/{t.number}" for t in fitting] != []
    )
    assert not [trial for trial in large if "origin" in trial.user_attrs]


@pytest.mark.slow
def test_the_table_has_a_row_a_budget(searched: Searched) -> None:
    rows = table(searched.out)
    assert [row["budget"] for row in rows] == ["7,200", "8,000"]
    for row, budget in zip(rows, BUDGETS, strict=True):
        results, plan = repeats_of(StudyLocation(searched.out, f"digits-frontier-{budget}"))
        assert plan
        values = [r.value for r in results if (r.repeat.purpose, r.repeat.trial) == (REPORT, int(row["trial"]))]
        assert (row["study"], row["n"]) == (f"digits-frontier-{budget}", "2")
        assert row["mean accuracy"] == f"{50 * sum(values):.2f} %"
        trials = pd.read_csv(searched.out / f"digits-frontier-{budget}" / "trials.csv").set_index("number")
        assert row["parameters"] == f"{trials.n_params[plan.candidates[0]]:,.0f}"
        assert re.fullmatch(r"-?[\d.]+ to -?[\d.]+", row["95 % interval"])
    markdown = (searched.out / "digits-frontier" / "frontier.md").read_text()
    assert [line for line in markdown.splitlines() if line.startswith("| ")][2:] == [
        f"| {' | '.join(row.values())} |" for row in rows
    ]
    assert "![Accuracy against parameters](frontier.svg)" in markdown


@pytest.mark.slow
def test_the_plot_is_an_svg(searched: Searched) -> None:
    root = ElementTree.fromstring((searched.out / "digits-frontier" / "frontier.svg").read_text())
    assert root.tag == f"{SVG}svg"
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {"parameters", "test accuracy after the last epoch", "winners, mean of fresh seeds, 95 % interval"} <= words


@pytest.mark.slow
def test_the_same_command_again_trains_nothing_and_gives_the_same_files(searched: Searched) -> None:
    assert {Path(name).name for name in searched.files[0]} >= {*FILES, "report.md", "trials.csv"}
    assert searched.n_trials[0] == searched.n_trials[1]
    assert [name for name in searched.files[0] if searched.files[0][name] != searched.files[1][name]] == []
    assert searched.files[0].keys() == searched.files[1].keys()


@pytest.mark.slow
def test_a_budget_that_nothing_fits_does_not_cost_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert digits(tmp_path, "--budgets", "50,8000", "--confirm", "none") == 2
    assert [row["budget"] for row in table(tmp_path)] == ["8,000"]
    error = capsys.readouterr().err
    assert "nothing in the space fits the budget of 50 parameters" in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_study_to_start_from_is_in_the_table(searched: Searched, tmp_path: Path) -> None:
    source = StudyLocation(searched.out, "digits-frontier-8000")
    write_frontier(Frontier((7200,), "digits-frontier", (source,)), searched.out, None)
    assert [row["study"] for row in table(searched.out)] == ["digits-frontier-7200", "digits-frontier-8000"]
    # A budget that was not run yet is not.
    write_frontier(Frontier((50, 7200, 9000), "digits-frontier", ()), searched.out, None)
    assert [row["study"] for row in table(searched.out)] == ["digits-frontier-7200"]
    assert not (tmp_path / "studies.db").exists()


@pytest.mark.parametrize("budgets", [(1000,), (1000, 2000)], ids=str)
def test_a_frontier_of_no_study_is_one_line_and_leaves_nothing(tmp_path: Path, budgets: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="there is no study of the frontier 'mine' with a result yet") as caught:
        write_frontier(Frontier(budgets, "mine", ()), tmp_path, None)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_frontier_without_any_result_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(*_arguments: object, **_options: object) -> None:
        raise training.TrainingDivergedError("the training loss became nan in epoch 1")

    monkeypatch.setattr(training, "train", diverge)
    assert digits(tmp_path, "--study", "mine") == 2
    assert capsys.readouterr().err == "search.py: there is no study of the frontier 'mine' with a result yet\n"
    assert not (tmp_path / "mine-frontier").exists()


@pytest.mark.slow
def test_digits_that_stand_in_for_mnist_have_a_frontier_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_root: Path) -> None:
        raise UnavailableError("MNIST is not here")

    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], load=absent))
    assert run(*COMMAND, "--trials", 1, "--confirm", "none", "--out", tmp_path) == 0
    assert "THIS IS NOT MNIST" in capsys.readouterr().err
    rows = table(tmp_path, "digits-frontier")
    assert [row["study"] for row in rows] == ["digits-frontier-7200", "digits-frontier-8000"]
    # Nothing was confirmed.
    for row in rows:
        assert re.fullmatch(r"\([\d.]+ %\)", row["mean accuracy"])
        assert (row["95 % interval"], row["sd"], row["n"]) == ("not confirmed", "-", "1")


# The plot alone


RECORDS = [made_up(0, 0.9950, baseline="s004_net3"), made_up(1, 0.9960), made_up(2, 0.9955)]


def summary(records: Sequence[TrialRecord], *values: float) -> StudySummary:
    """Of a study whose second trial was confirmed with `values`; none: it was not."""
    plan = ConfirmPlan((1,), (0.9955,), None, max(1, len(values)))
    repeats = [*choosing(plan, records, CONFIG), *reporting(plan, 1, records, CONFIG)] if values else []
    return summarise("s", CONFIG, records, repeats=made_up_results(repeats, {1: values}), plan=plan)


def test_shared_weights_are_counted_in_every_layer_beside_the_parameters() -> None:
    plain, sharing = summary(RECORDS[:1]), replace(RECORDS[0], arch=thrifty_spec(), n_params=456)
    assert "by layer" not in frontier_table([plain])
    header, first, second = frontier_table([plain, summary([sharing])]).splitlines()
    assert header.split()[3:6] == ["parameters", "by", "layer"]
    assert (first.split()[3:5], second.split()[3:5]) == (["4,222", "4,222"], ["456", "960"])
    assert "the column by layer counts them in every layer" in frontier_files("f", [summary([sharing])])["frontier.md"]


@pytest.mark.parametrize(
    ("summaries", "colours"),
    [
        ([summary(RECORDS, 0.9951, 0.9953, 0.9955)], {ORANGE, BLUE, GREY}),
        ([summary(RECORDS, 0.9951)], {ORANGE, BLUE, GREY}),
        ([summary(RECORDS)], {BLUE, GREY}),
        ([summary(RECORDS[1:2])], {GREY}),
        ([summary(RECORDS, 1.0, 1.0)], {ORANGE, BLUE, GREY}),
        ([summary(RECORDS, 0.01, 1.0)], {ORANGE, BLUE, GREY}),
        ([summary(RECORDS, 0.9951, 0.9953), summary(RECORDS)], {ORANGE, BLUE, GREY}),
    ],
    ids=[
        "confirmed",
        "one seed",
        "not confirmed",
        "one trial",
        "no error",
        "interval past both ends",
        "some confirmed",
    ],
)
def test_every_study_can_be_drawn(summaries: list[StudySummary], colours: set[str]) -> None:
    text = frontier_plot(summaries)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    # A confirmed winner is a dot with two ends, as in the legend; what has no logarithm would be left out.
    n_confirmed = sum(one.confirmation is not None for one in summaries)
    placed = [use.attrib["style"] for use in root.iter(f"{SVG}use") if ORANGE.lower() in use.attrib.get("style", "")]
    assert len(placed) == (3 * n_confirmed + 3 if n_confirmed else 0)
    shown = [float(word.text[:-2]) for word in root.iter(f"{SVG}text") if word.text and word.text.endswith(" %")]
    assert 0 <= min(shown) < max(shown) < 100
    assert {colour for colour in (ORANGE, BLUE, GREY) if colour.lower() in text.lower()} == colours
    assert "nan" not in text.lower()
    assert frontier_plot(summaries) == text


NAMES = [
    # Chosen name, data set, whether digits replace MNIST, existing studies with their data, first study and table.
    (None, "digits", False, {}, "digits-frontier-2000", "digits-frontier"),
    (None, "digits", True, {}, "digits-frontier-2000", "digits-frontier"),
    ("demo", "digits", False, {}, "demo-2000", "demo-frontier"),
    ("demo", "digits", True, {}, "demo-2000-digits", "demo-frontier-digits"),
    (None, "digits", False, {"frontier-2000": "digits"}, "frontier-2000", "frontier-frontier"),
    (None, "digits", False, {"frontier-2000": "fashion"}, "digits-frontier-2000", "digits-frontier"),
    (None, "digits", True, {"frontier-2000-digits": "digits"}, "frontier-2000-digits", "frontier-frontier-digits"),
]


@pytest.mark.parametrize(("name", "dataset", "is_substitute", "existing", "first", "folder"), NAMES)
def test_names_contain_the_data_set_and_earlier_ones_are_kept(
    name: str | None,
    dataset: str,
    is_substitute: bool,
    existing: dict[str, str],
    first: str,
    folder: str,
    tmp_path: Path,
) -> None:
    for study_name, data in existing.items():
        open_study(open_storage(f"sqlite:///{tmp_path}/studies.db"), study_name, {"dataset": data})
    data = DataConfig(dataset, str(tmp_path))
    frontier = Frontier((2000,), name, ()).named(data, tmp_path, None, is_substitute=is_substitute)
    assert (frontier.locations(tmp_path, None)[2000].name, frontier.folder_name) == (first, folder)
