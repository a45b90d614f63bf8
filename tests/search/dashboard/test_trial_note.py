from dataclasses import replace

import pytest

from search.dashboard.trial_note import MAX_EPOCHS_SHOWN, trial_note
from search.report.networks.of_trial import network_of
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, TrialRecord
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, epoch, made_up

BY_OUTCOME = {record.outcome: record for record in reversed(EVERY_OUTCOME)}


def plain(note):
    return " ".join(note.replace("\u00a0", " ").split(" ")).replace("  ", " ").replace("  ", " ")


@pytest.mark.parametrize(
    ("record", "first"),
    [
        (BY_OUTCOME[FINISHED], "**Finished: 99.31 %**, trained for 2 epochs, "),
        (
            BY_OUTCOME[REFUSED],
            "**Refused: over budget.** 9,000 parameters, 1,000 over the budget of 8,000. It was counted,",
        ),
        (
            made_up(1, outcome=REFUSED, reason="3 ms of latency, 1 over the limit of 2", latency_ms=3.0),
            "**Refused: over a limit.** 3 ms of latency, 1 over the limit of 2. It was built and timed, not trained.",
        ),
        (
            made_up(1, outcome=REFUSED, reason="9 multiply-adds, 1 over the limit of 8"),
            "**Refused: over a limit.** 9 multiply-adds,",
        ),
        (BY_OUTCOME[STOPPED], "**Stopped early after epoch 2 of 15.** 98.00% after epoch 5 is below the median"),
        (BY_OUTCOME[DIVERGED], "**Diverged.** The training loss became nan in epoch 2."),
        (
            BY_OUTCOME[REPEATED],
            "**Repeats [trial 0](?numbers=0).** The same network and recipe, so it has its value, 99.31",
        ),
        (replace(BY_OUTCOME[REPEATED], value=None), "**Repeats [trial 0](?numbers=0).** The same network"),
        (BY_OUTCOME["fail"], "**Interrupted.**"),
        (TrialRecord(number=3, outcome="fail", value=None, params={}), "**Interrupted.**"),
    ],
)
def test_the_first_words_tell_the_outcome(record, first):
    assert plain(trial_note(record, CONFIG)).startswith(first)


def test_a_refused_network_is_drawn_from_its_values():
    refused = BY_OUTCOME[REFUSED]
    assert refused.arch is None
    note = plain(trial_note(refused, CONFIG))
    assert network_of(refused, CONFIG) == BY_OUTCOME[FINISHED].arch
    assert "**Network** `" in note
    assert "| 12 × 26 × 26 |" in note
    assert "9,000, 1,000 over the budget of 8,000" in note
    assert "**Curve**" not in note
    assert "**Recipe**" not in note


def test_one_that_lacks_values_has_no_network():
    record = TrialRecord(number=3, outcome="fail", value=None, params={"stages": 2})
    assert network_of(record, CONFIG) is None
    assert "Network" not in trial_note(record, CONFIG)


def test_a_trained_trial_shows_network_curve_recipe_and_remark():
    note = plain(trial_note(BY_OUTCOME[FINISHED], CONFIG, "**A remark.**"))
    assert note.index("**Finished") < note.index("**A remark.**") < note.index("**Network**") < note.index("**Curve**")
    assert "| origin |" in note
    assert "| hand-designed s004_net3 |" in note
    assert "| accuracy, % | 99.00 | 99.00 |" in note
    assert "| on training images, % | 98.10 | 98.20 |" in note
    assert "| sgd | 0.3 |" in note


def test_the_longest_bar_is_that_of_the_largest_layer():
    rows = [line for line in trial_note(BY_OUTCOME[FINISHED], CONFIG).splitlines() if "█" in line]
    sizes = [int(line.split("|")[4].strip("\u00a0 ").replace(",", "")) for line in rows]
    lengths = [line.count("█") for line in rows]
    assert lengths == [round(20 * size / max(sizes)) for size in sizes]
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("n_epochs", [1, 15, 16, 60, 61])
def test_a_long_curve_shows_some_epochs_and_the_last(n_epochs):
    record = made_up(0, 0.99, curve=tuple(epoch(i, seconds=1.0) for i in range(1, n_epochs + 1)))
    header = next(line for line in plain(trial_note(record, CONFIG)).splitlines() if line.startswith("| epoch"))
    shown = [int(cell) for cell in header.split("|")[2:-1]]
    assert shown[-1] == n_epochs
    assert len(shown) <= MAX_EPOCHS_SHOWN + 1
    assert shown == sorted(shown)
