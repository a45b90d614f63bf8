from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from models.baselines import MNIST_BASELINES
from search.cli.commands.run import search_config
from search.cli.main import make_parser
from search.config import AUGMENTATIONS, ConfirmConfig, DataConfig, SearchConfig
from search.report.architecture import architecture_line
from search.report.facts import command_line
from search.report.summary import StudySummary, summarise
from search.report.terminal import markdown_report, terminal_report
from search.report.trials_csv import trials_table
from search.search_space.space_file import as_file
from tests.search.made_up_summaries import BALANCED_SUMMARY, NOTICE, SUMMARIES, VAL
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, made_up
from tests.search.report_sections import reports, section


@pytest.mark.parametrize("name", SUMMARIES)
def test_terminal_report_fits_80_columns(name: str) -> None:
    lines = terminal_report(SUMMARIES[name]).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("name", SUMMARIES)
def test_all_hand_designed_networks_are_in_both_reports(name: str) -> None:
    for text in reports(name):
        rows = section(text, "Hand-designed networks")
        assert [row[0] for row in rows if row[0] in MNIST_BASELINES] == list(MNIST_BASELINES)


def test_rows_of_hand_designed_networks() -> None:
    for text in reports("every outcome"):
        rows = {row[0]: row[1:] for row in section(text, "Hand-designed networks")}
        assert rows["s000_net"] == ["18,662", "no", "99.61 %", "20", "over budget"]
        assert rows["s001_model3"] == ["7,784", "yes", "99.47 %", "15", "not run yet"]
        assert rows["s003_iter2"] == ["19,402", "no", "about 99.30 %", "19", "over budget"]
        assert rows["s004_net3"] == ["7,496", "yes", "99.43 %", "15", "99.31 %"]
        assert "with the search's default recipe, not with their own" in " ".join(text.split())


def test_top_ten() -> None:
    records = [made_up(i, 0.99 + i / 10_000) for i in range(12)] + [made_up(20, 0.9999, baseline="s004_net3")]
    summary = summarise("s", CONFIG, records)
    for text in (terminal_report(summary), markdown_report(summary)):
        rows = [row for row in section(text, "Top ten") if row[0].isdigit()]
        assert [row[1] for row in rows] == ["20", "11", "10", "9", "8", "7", "6", "5", "4", "3"]
        assert [row[0] for row in rows] == [str(rank) for rank in range(1, 11)]
        assert rows[0][:6] == ["1", "20", "99.99 %", *rows[1][3:6]]
        line = architecture_line(records[-1].arch)
        in_markdown = f"| hand-designed s004_net3 | {line} |"
        assert (in_markdown if text.startswith("#") else f"hand-designed\n        s004_net3: {line}\n") in text
        assert text.count(line) == 11


@pytest.mark.parametrize("name", ["nothing yet", "none finished", "all over"])
def test_without_a_finished_trial(name: str) -> None:
    terminal, markdown = reports(name)
    assert "Winner\n  No trial has finished yet.\n" in terminal
    assert "Top ten" not in terminal
    assert "## Caveats\n\n- No trial has finished yet.\n" in markdown
    assert "layers" not in markdown


@pytest.mark.parametrize(
    ("name", "stamp"),
    [("every outcome", "Selected on test"), ("validation", "Selected on validation images")],
)
def test_stamp(name: str, stamp: str) -> None:
    terminal, markdown = reports(name)
    assert f"\n{stamp}\n" in terminal
    assert f"\n- {stamp}\n" in markdown


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
    for caveat in SUMMARIES["every outcome"].caveats:
        assert f"- {caveat}\n" in markdown


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


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (CONFIG, ()),
        (replace(VAL, score="best", seed=7, sampler="random", pruner="none", epochs=1), (("--confirm", "2:3:4"),)),
        (
            replace(CONFIG, max_macs=5, max_memory=6, max_weights_bytes=7, min_rf=8, bytes_in="int8", max_latency=1.5),
            (),
        ),
        (replace(CONFIG, metric="balanced_accuracy", share_weights=True), (("--warm", "a b"), ("--engine", "torch"))),
        (replace(CONFIG, data=DataConfig("digits", "data", image_size=(32, 40))), ()),
        (replace(CONFIG, dimensions=("shear = 0.0", "batch_size = 32")), ()),
        (replace(CONFIG, data=DataConfig("cifar10", "data"), augmentations=AUGMENTATIONS), ()),
        (replace(CONFIG, data=DataConfig("cifar10", "data"), augmentations=("shift", "crop")), ()),
        (replace(CONFIG, augmentations=("shift", "crop"), dimensions=("crop_padding = 0.1",)), ()),
        (replace(CONFIG, augmentations=()), ()),
    ],
)
def test_the_command_repeats_all_settings(
    config: SearchConfig, options: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    (tmp_path / "space.toml").write_text(as_file(config))
    summary = summarise("s", config, [], space_file=str(tmp_path / "space.toml"), run_options=options)
    python, program, *arguments = shlex.split(command_line(summary))
    assert (python, program) == ("python", "search.py")
    args = make_parser().parse_args(["run", *arguments])
    repeated = search_config(args, args.budget)
    assert repeated.settings() == config.settings()
    assert repeated.data.option == config.data.option
    assert (args.study, args.jobs) == ("s-again", 1)
    expected = dict(options)
    assert args.confirm == (ConfirmConfig(2, 3, 4) if "--confirm" in expected else ConfirmConfig())
    assert (args.warm, args.engine) == (["a b"] if "--warm" in expected else [], expected.get("--engine", "auto"))


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
    table = trials_table(summary.top, summary.config)
    assert {column for column in table.columns if column in both} == set(both)
    assert table.last_balanced_accuracy.tolist() == [0.97] * len(table)


def test_where_classes_are_balanced_there_is_one_accuracy() -> None:
    terminal, markdown = reports("every outcome")
    assert "balanced" not in terminal + markdown
    assert "last_accuracy" not in trials_table(EVERY_OUTCOME, CONFIG).columns
