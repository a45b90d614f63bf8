"""Describe the trials of a run before it starts: how many there are, which go first, and whether proposals will fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from search.report.networks.origin import PROPOSED, listed_kinds, origin_of
from search.sampling.feasibility import Feasibility
from search.sampling.samplers import KINDS
from search.study.loop import MAX_REFUSED_IN_A_ROW, n_trained
from search.study.trials import TRAINED, read_trials
from search.text import counted, wrapped

# Width of the labels in front of the lines of the plan.
LABEL = " " * 9
# Share of the random points that fit below which a random draw hardly ever fits.
FEW = 0.005


def trial_lines(trials: Sequence[FrozenTrial], n_trials: int, n_epochs: int) -> list[str]:
    """Return lines of the plan that state the numbers of trials, of those that go first, and of interrupted ones.

    trials    trials of the study, with the queued ones
    n_trials  number of trained candidates that the study is to have
    n_epochs  largest number of epochs of a trial
    """
    n_done, records = n_trained(trials), read_trials(trials)
    waiting = Counter(origin_of(record).kind for record in records if record.outcome == "waiting")
    n_interrupted = waiting.pop(PROPOSED, 0)
    is_searched = n_interrupted or any(
        record.outcome in TRAINED and origin_of(record).kind == PROPOSED for record in records
    )
    lines = [f"trials   {n_trials:,} of at most {counted(n_epochs, 'epoch')}, {n_done:,} done"]
    lines += [f"first    {listed_kinds(waiting)}"] if waiting else []
    lines += [f"again    {counted(n_interrupted, 'interrupted trial')}"] if n_interrupted else []
    if is_searched or n_trials > n_done + waiting.total():
        return lines
    return [*lines, _warning(n_trials, n_done, waiting.total())]


def sampler_lines(feasibility: Feasibility, sampler: str) -> list[str]:
    """Return a warning if hardly any point of the space fits and the sampler does not begin with points that do."""
    if feasibility.share >= FEW or KINDS[sampler].starts_feasible:
        return []
    others = [name for name, kind in KINDS.items() if kind.starts_feasible]
    return [
        wrapped(
            f"warning  --sampler {sampler} draws from the whole space, so hardly any of its proposals will fit; "
            f"{MAX_REFUSED_IN_A_ROW:,} refused ones in a row, which take minutes, end the search; "
            f"{' and '.join(others)} begin with points that fit",
            hanging=LABEL,
        )
    ]


def _warning(n_trials: int, n_done: int, n_first: int) -> str:
    """Return a warning that all trials are spent before the sampler proposes one."""
    n_left = n_trials - n_done
    first = f"the {counted(n_first, 'network')} that {'goes first takes' if n_first == 1 else 'go first take'}"
    left = (
        f"{counted(n_left, 'trial')} that {'is' if n_left == 1 else 'are'} left"
        if n_done
        else counted(n_trials, "trial")
    )
    cause = (
        f"{first} the {left}"
        if n_left > 0
        else f"{counted(n_trials, 'trial')} of {n_trials:,} {'is' if n_trials == 1 else 'are'} done"
    )
    return wrapped(
        f"warning  nothing is searched: {cause}, so the sampler proposes none; it begins with --trials "
        f"{n_done + n_first + 1}",
        hanging=LABEL,
    )
