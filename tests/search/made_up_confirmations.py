"""Trials to choose a winner from, and what they got when they were trained again, without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from search.config import DataConfig, SearchConfig
from search.evidence.confirm import ConfirmPlan, choose, choosing, reporting
from search.evidence.repeats import RepeatResult
from tests.search.made_up_trials import CONFIG, made_up, made_up_results

VAL = replace(CONFIG, data=DataConfig("mnist", "data", select_on="val"))
WIDER = {"stages.1.width.1": 16}
# Found with 99.60, 99.55, 99.50, 99.40 and 99.30 %; of the hand-designed ones the second is the better.
RECORDS = [
    made_up(0, 0.9940, baseline="s001_model3"),
    made_up(1, 0.9950, baseline="s004_net3"),
    made_up(2, 0.9960, params=WIDER),
    made_up(3, outcome="stopped"),
    made_up(4, 0.9955),
    made_up(5, 0.9930),
]
SD = 0.0005
PLAN = ConfirmPlan((2, 4, 1), (0.9957, 0.9953, 0.9949), 1, 3)
LONE = ConfirmPlan((2,), (0.9957,), 1, 3)


def first_round(
    values: Mapping[int, Sequence[float]], plan: ConfirmPlan = PLAN, config: SearchConfig = CONFIG
) -> list[RepeatResult]:
    """The first round's results, trial by trial; a trial with fewer values than seeds lacks the last ones."""
    return made_up_results(choosing(plan, RECORDS, config), values)


def both_rounds(
    first: Mapping[int, Sequence[float]],
    second: Mapping[int, Sequence[float]],
    plan: ConfirmPlan = PLAN,
    config: SearchConfig = CONFIG,
    misread: Mapping[tuple[int, int], Sequence[int]] | None = None,
) -> list[RepeatResult]:
    """The results of both rounds; misread: by trial and place of the seed."""
    found = first_round(first, plan, config)
    chosen = choose(plan, RECORDS, found, config)
    assert chosen is not None
    wanted = reporting(plan, chosen, RECORDS, config)
    return found + made_up_results(wanted, second, misread, first_number=len(found))


FIRST = {2: (0.9950, 0.9951, 0.9952), 4: (0.9953, 0.9954, 0.9955), 1: (0.9940, 0.9950, 0.9960)}
SECOND = {4: (0.9951, 0.9955, 0.9949), 1: (0.9950, 0.9948, 0.9946)}
