from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.baselines import BASELINES
from search.config import InputError
from search.confirm import reporting
from search.report import StudySummary, markdown_report, summarise, terminal_report, trials_table, write_report
from search.trials import TrialRecord
from space import DIMENSIONS
from tests.search.made_up_summaries import BALANCED_SUMMARY, CARD, NOTICE, SUMMARIES, VAL
from tests.search.made_up_trials import (
    CONFIG,
    EVERY_OUTCOME,
    PLAN,
    made_up,
    results_again,
)


def reports(name: str) -> tuple[str, str]:
    return terminal_report(SUMMARIES[name]), markdown_report(SUMMARIES[name])


def section(text: str, title: str) -> list[list[str]]:
    """The cells of every line below a heading of either report, up to the next empty line."""
    lines = text.replace("\n\n|", "\n|").splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip("# ") == title and line[:1] != " ")
    block = lines[start + 1 :][: lines[start + 1 :].index("")]
    return [re.split(r" {2,}|\s*\|\s*", line.strip(" |")) for line in block]


@pytest.mark.parametrize("name", SUMMARIES)
def test_terminal_report_fits_80_columns(name: str) -> None:
    lines = terminal_report(SUMMARIES[name]).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("name", SUMMARIES)
def test_all_hand_designed_networks_are_in_both_reports(name: str) -> None:
    for text in reports(name):
        rows = section(text, "Hand-designed networks")
        assert [row[0] for row in rows if row[0] in BASELINES] == list(BASELINES)


def test_rows_of_hand_designed_networks() -> None:
    for text in reports("every outcome"):
        rows = {row[0]: row[1:] for row in section(text, "Hand-designed networks")}
        assert rows["s000_net"] == ["18,662", "no", "99.61 %", "20", "over budget"]
        assert rows["s001_model3"] == ["7,784", "yes", "99.47 %", "15", "not run yet"]
        assert rows["s003_iter2"] == ["19,402", "no", "about 99.30 %", "19", "over budget"]
        assert rows["s004_net3"] == ["7,496", "yes", "99.43 %", "15", "99.31 %"]
        assert "with the search's default recipe, not with their own" in " ".join(text.split())


def test_winner() -> None:
    for text in reports("every outcome"):
        rows = [row for row in section(text, "Winner") if len(row) == 2 and row[0].strip("-")]
        assert rows[-6:] == [
            ["trial", "8"],
            ["accuracy", "99.52 %, selected on test"],
            ["parameters", "4,474 (3,526 below the budget of 8,000)"],
            ["MACs", "968,088"],
            ["receptive field", "28"],
            ["architecture", "8 16 · pool · 12 12 · GAP linear 10"],
        ]


def test_the_winner_has_the_slack_of_every_limit() -> None:
    limits = {"max_macs": 10**6, "max_memory": 20_000, "max_weights_bytes": 4474, "bytes_in": "int8", "min_rf": 12}
    summary = summarise("s", replace(CONFIG, **limits), EVERY_OUTCOME)
    for text in (terminal_report(summary), markdown_report(summary)):
        rows = winner_rows(text)
        assert rows["parameters"] == "4,474 (3,526 below the budget of 8,000)"
        assert rows["MACs"] == "968,088 (31,912 below the limit of 1,000,000)"
        assert rows["receptive field"] == "28"
        assert rows["activations"] == "14,624 bytes in int8 (5,376 below the limit of 20,000)"
        assert rows["weights"] == "4,474 bytes in int8 (0 below the limit of 4,474)"
        assert rows["RF before the head"] == "14 (2 above the floor of 12)"
        headline = " ".join(text.split())
        assert (
            "1,000,000 multiply-adds, 20,000 bytes of activations in int8, 4,474 bytes of weights in int8" in headline
        )
        assert "at least 12 pixels of receptive field before the head" in headline


@pytest.mark.parametrize(
    ("limits", "distance"),
    [
        ({}, ""),
        ({"max_latency": 1.0}, ", 0.38 below the limit of 1"),
        ({"max_latency": 0.5}, ", 0.12 over the limit of 0.5"),
    ],
)
def test_the_winner_has_its_latency(limits: dict[str, float], distance: str) -> None:
    summary = summarise("s", replace(CONFIG, **limits), [made_up(0, 0.99, latency_ms=0.6234)])
    measured = "one image, one thread, fastest of 30 passes on the machine of the search"
    for text in (terminal_report(summary), markdown_report(summary)):
        assert winner_rows(text)["latency"] == f"0.623 ms{distance} ({measured})"
        assert ("ms of latency" in " ".join(section(text, "Winner")[0] + text.splitlines()[:6])) == bool(limits)
    assert trials_table([made_up(0, 0.99, latency_ms=0.6234)]).loc[0, "latency_ms"] == 0.6234


def test_a_hand_designed_winner_is_named() -> None:
    for text in reports("baseline wins"):
        assert ["hand-designed", "s000_net"] in section(text, "Winner")


def test_top_ten() -> None:
    records = [made_up(i, 0.99 + i / 10_000) for i in range(12)] + [made_up(20, 0.9999, baseline="s004_net3")]
    summary = summarise("s", CONFIG, records)
    for text in (terminal_report(summary), markdown_report(summary)):
        rows = [row for row in section(text, "Top ten") if row[0].isdigit()]
        assert [row[1] for row in rows] == ["20", "11", "10", "9", "8", "7", "6", "5", "4", "3"]
        assert [row[0] for row in rows] == [str(rank) for rank in range(1, 11)]
        assert rows[0] == ["1", "20", "99.99 %", *rows[1][3:6], "s004_net3"]


@pytest.mark.parametrize("name", ["nothing yet", "none finished", "all over"])
def test_without_a_finished_trial(name: str) -> None:
    terminal, markdown = reports(name)
    assert "Winner\n  No trial has finished yet.\n" in terminal
    assert "Top ten" not in terminal
    assert "## What to doubt\n\n- No trial has finished yet.\n" in markdown
    assert "layers" not in markdown


@pytest.mark.parametrize(
    ("name", "stamp"),
    [("every outcome", "Selected on test"), ("validation", "Selected on validation images")],
)
def test_stamp(name: str, stamp: str) -> None:
    terminal, markdown = reports(name)
    assert f"\n{stamp}\n" in terminal
    assert f"\n- {stamp}\n" in markdown


def test_accuracy_on_test_of_a_study_that_did_not_search_on_it() -> None:
    for text in reports("validation"):
        assert ["on test", "99.12 %, on images that the search never saw"] in section(text, "Winner")
    same = summarise("s", CONFIG, EVERY_OUTCOME, winner_card=CARD)
    assert "never saw" not in terminal_report(same) + markdown_report(same)


def winner_rows(text: str) -> dict[str, str]:
    """What either report says of the winner, by name; lines that the terminal broke joined again."""
    found: dict[str, str] = {}
    for name, *rest in (row for row in section(text, "Winner") if row[0].strip("-")):
        if rest:
            found[name] = " ".join(rest)
        elif found:
            found[list(found)[-1]] += f" {name}"
    return found


@pytest.mark.parametrize(("name", "selected_on"), [("confirmed", "test"), ("confirmed on val", "validation images")])
def test_a_confirmed_winner_is_told_by_its_fresh_seeds(name: str, selected_on: str) -> None:
    for text in reports(name):
        rows = winner_rows(text)
        assert rows["trial"] == "9"
        # 0.9941 ± 4.303 * 0.000361 / sqrt(3), Student's t of two degrees of freedom.
        assert rows["accuracy"] == (
            "99.41 %, mean of 3 fresh seeds (95 % interval 99.32 to 99.50) on the test set after the last epoch, "
            f"selected on {selected_on}"
        )
        assert rows["seeds"] == "sd 0.04 points, from 99.38 % to 99.45 %"
        assert rows["file"].startswith("99.40 %, the training with the median accuracy (seed ")
        assert rows["in the search"] == "99.40 %: selection gap -0.01 points"
        assert rows["compared with"] == (
            "s004_net3 (4,222 parameters, 99.28 % on the same seeds): +0.13 points (95 % interval 0.06 to 0.20), "
            "better. Of the two median networks only the winner misreads 2 images, only s004_net3 6 (McNemar's test: "
            "p = 0.29)"
        )
        assert "on test" not in rows


def test_one_seed_alone_has_no_spread() -> None:
    plan = replace(PLAN, candidates=(9,), estimates=(0.9937,), n_seeds=1)
    repeats = results_again(reporting(plan, 9, EVERY_OUTCOME, CONFIG))
    summary = summarise("s", CONFIG, EVERY_OUTCOME, repeats=repeats, plan=plan)
    for text in (terminal_report(summary), markdown_report(summary)):
        rows = winner_rows(text)
        assert rows["accuracy"].startswith("99.38 %, mean of 1 fresh seed (one seed, so no interval) on the test set")
        assert rows["seeds"] == "from 99.38 % to 99.38 %"
        assert [row for row in section(text, "Confirmation") if row[0] == "9"] == [
            ["9", "99.40 %", "99.37 %", "-", "-", "-"]
        ]


def test_the_contenders_of_a_confirmation() -> None:
    for text in reports("confirmed"):
        rows = [row for row in section(text, "Confirmation") if row[0].isdigit()]
        assert rows == [
            ["8", "99.52 %", "99.45 %", "99.31 %", "0.01", "3"],
            ["9", "99.40 %", "99.37 %", "99.45 %", "0.01", "3"],
            ["0", "99.31 %", "99.31 %", "99.21 %", "0.01", "3"],
        ]
        assert "its accuracy is that over further seeds, which chose nothing." in " ".join(text.split())


def test_noise_floor() -> None:
    for text in reports("measured"):
        words = " ".join(text.split())
        # Three draws have an expected maximum of 0.846 standard deviations of 0.129 points each, by Blom 0.870.
        for line in (
            "Trial 0 trained 4 times: mean 99.15 %, sd 0.13 points, from 99.00 % to 99.30 %.",
            "Noise alone would put the best of 3 equally good trials +0.11 points above their mean.",
            "Two single trainings of equal networks differ by more than 0.36 points once in twenty times; of the top "
            "ten that leaves undecided against the best: 9, 0.",
            "The winner's +0.13 points over s004_net3 are not above the 0.21 that means of 3 seeds differ by once in "
            "twenty times.",
        ):
            assert line in words


def test_what_was_not_trained_again_has_no_section() -> None:
    for text in reports("every outcome"):
        assert "Confirmation" not in text
        assert "Noise floor" not in text


@pytest.mark.parametrize(
    ("score", "rule"),
    [
        ("last", "accuracy after epoch 15, the last"),
        ("best", "highest accuracy of epochs 1 to 15"),
        ("last3", "mean accuracy of the last 3 of 15 epochs"),
    ],
)
def test_epoch_rule(score: str, rule: str) -> None:
    summary = summarise("s", replace(CONFIG, score=score), [])
    assert f"\nValue of a trial: {rule}\n" in terminal_report(summary)
    assert f"\n- Value of a trial: {rule}\n" in markdown_report(summary)


def test_notice_comes_first() -> None:
    terminal, markdown = reports("digits")
    first, second = NOTICE.splitlines()
    assert terminal.startswith(f"*** {first}")
    assert markdown.startswith(f"**{first}**\n\n{second}\n\n# Study mnist-8000-digits\n")


def test_proposals() -> None:
    for text in reports("every outcome"):
        assert "feasible / proposed: 5 / 7 (71.4 %)" in text
        assert "trained: 3 finished; 1 stopped early; 1 diverged" in text
        assert "not trained: 1 over a limit; 1 repeated an earlier one" in text
        assert "unfinished: 1 interrupted; 1 running" in text
        assert "time spent training, summed over trials: 5 min 0 s" in text
    assert "\nProposals\n  feasible" in terminal_report(SUMMARIES["every outcome"])
    assert "unfinished" not in terminal_report(SUMMARIES["baseline wins"])
    assert "feasible / proposed: 0 / 0\n" in terminal_report(SUMMARIES["nothing yet"])


def test_adopted_trials_are_told_apart() -> None:
    summary = summarise("s", CONFIG, [made_up(0, 0.99), made_up(1, 0.98, origin="other/7")])
    for text in (terminal_report(summary), markdown_report(summary)):
        assert "trained: 1 finished\n" in text
        assert "adopted from other studies: 1\n" in text
    assert "adopted" not in terminal_report(SUMMARIES["every outcome"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.6, "1 h 0 min"), (17_830, "4 h 57 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert f": {text}" in terminal_report(replace(SUMMARIES["nothing yet"], seconds=seconds)).splitlines()[-1]


def test_markdown_tells_how_the_winner_was_made() -> None:
    markdown = markdown_report(SUMMARIES["every outcome"])
    assert f"total: {EVERY_OUTCOME[8].n_params:,} parameters" in markdown
    assert "| lr | 0.3 |" in markdown
    assert "| schedule | kind onecycle, epochs 15, pct_start 0.2," in markdown
    assert "| augmentation | rotation 7, shift 0.05, scale 0.05 |" in markdown
    assert "the winner's is 1008." in markdown
    assert ["8", "99.52 %"] in section(markdown, "Best so far")
    for doubt in SUMMARIES["every outcome"].doubts:
        assert f"- {doubt}\n" in markdown


def test_markdown_names_values_on_the_end_of_their_range() -> None:
    summary = summarise("s", CONFIG, [made_up(0, 0.99, params={"sgd.lr": 1.0})])
    assert "may lie outside: sgd.lr = 1 (0.02 to 1)." in markdown_report(summary)


@pytest.mark.parametrize(
    ("summary", "command"),
    [
        (
            SUMMARIES["every outcome"],
            "--budget 8000 --dataset mnist --select-on test --epochs 15 --score last --seed 0 --sampler tpe "
            "--pruner median --trials 5 --study mnist-8000-again --jobs 1",
        ),
        (
            summarise("s", replace(VAL, max_macs=5, max_memory=6, score="best", seed=7, sampler="random"), []),
            "--budget 8000 --dataset mnist --select-on val --max-macs 5 --max-memory 6 --epochs 15 --score best "
            "--seed 7 --sampler random --pruner median --study s-again --jobs 1",
        ),
    ],
)
def test_command_line(summary: StudySummary, command: str) -> None:
    assert f"```\npython search.py {command}\n```" in markdown_report(summary)


def test_what_an_older_space_did_not_search_has_no_column() -> None:
    record = made_up(0, 0.99)
    older = replace(record, params={name: value for name, value in record.params.items() if name != "norm_scale"})
    assert set(trials_table([record])) - set(trials_table([older])) == {"norm_scale"}


def test_trials_table() -> None:
    table = trials_table(EVERY_OUTCOME)
    assert list(table.columns[-len(DIMENSIONS) :]) == [dimension.name for dimension in DIMENSIONS]
    whole = ["number", "index", "n_params", "macs", "receptive_field", "seed", "repeats", "stages", "batch_size"]
    assert set(table[whole].dtypes) == {pd.Int64Dtype()}
    assert list(table["number"]) == [record.number for record in EVERY_OUTCOME]
    assert list(table["outcome"]) == [record.outcome for record in EVERY_OUTCOME]
    finished, refused, running = table.loc[0], table.loc[1], table.loc[6]
    assert (finished["value"], finished["baseline"], finished["last_train_accuracy"]) == (0.9931, "s004_net3", 0.982)
    assert (finished["stages.1.dropout"], finished["transitions.1.bare"], finished["batch_size"]) == (
        "none",
        False,
        128,
    )
    assert refused["reason"] == "9,000 parameters, 1,000 over the budget of 8,000"
    assert refused[["value", "receptive_field", "seconds", "last_train_accuracy"]].isna().all()
    assert running["sgd.lr"] is pd.NA
    assert table.loc[4, "repeats"] == 0
    assert trials_table([made_up(0, 0.99, origin="other/7")]).loc[0, "origin"] == "other/7"


@pytest.mark.parametrize("records", [EVERY_OUTCOME, [], EVERY_OUTCOME[1:2]], ids=["all", "none", "one refused"])
def test_csv_reads_back_as_it_was(records: list[TrialRecord], tmp_path: Path) -> None:
    write_report(summarise("s", CONFIG, records), records, tmp_path / "new" / "folder")
    table = trials_table(records)
    found = pd.read_csv(tmp_path / "new" / "folder" / "trials.csv", dtype=table.dtypes.to_dict())
    pd.testing.assert_frame_equal(found, table)


def test_written_report(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("old")
    write_report(SUMMARIES["every outcome"], EVERY_OUTCOME, tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == markdown_report(SUMMARIES["every outcome"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md", "trials.csv"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.md").write_text("old")

    def write_half(path: Path, text: str, **_: Any) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(InputError, match=r"report\.html: No space left on device; make room there"):
        write_report(SUMMARIES["every outcome"], EVERY_OUTCOME, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"report.md": b"old"}


@pytest.mark.parametrize(
    ("summary", "own", "other"),
    [
        (BALANCED_SUMMARY, "balanced accuracy", "accuracy"),
        (SUMMARIES["imbalanced"], "accuracy", "balanced accuracy"),
    ],
    ids=["balanced", "imbalanced"],
)
def test_both_accuracies_are_told_apart(summary: StudySummary, own: str, other: str) -> None:
    terminal, markdown = terminal_report(summary), markdown_report(summary)
    assert f"Value of a trial: {own} after epoch 15, the last" in terminal
    assert max(map(len, terminal.splitlines())) <= 80
    assert f"| rank | trial | {own} | {other} | parameters |" in markdown
    assert f"| trial | {own} |\n" in markdown
    assert f"| {own} | 99.52 %, selected on test |" in markdown
    assert f"| {other} | {'97.00' if own == 'accuracy' else '99.00'} %, of the same training |" in markdown
    assert f"the best {own} of the search is the maximum" in markdown
    assert ("MNIST: one network" in markdown) == (own == "accuracy")
    both = "last_accuracy", "last_balanced_accuracy"
    table = trials_table(summary.top)
    assert {column for column in table.columns if column in both} == set(both)
    assert table.last_balanced_accuracy.tolist() == [0.97] * len(table)


def test_where_classes_are_balanced_there_is_one_accuracy() -> None:
    terminal, markdown = reports("every outcome")
    assert "balanced" not in terminal + markdown
    assert "last_accuracy" not in trials_table(EVERY_OUTCOME).columns
