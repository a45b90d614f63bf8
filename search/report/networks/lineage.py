"""State whether the winner of a search descends from networks that are stored with this program."""

from __future__ import annotations

from collections.abc import Sequence

from search.report.networks.of_trial import HAND_DESIGNED, STARTING_POINT
from search.report.networks.origin import ADOPTED, PROPOSED, origin_of
from search.study.trials import FINISHED, TrialRecord
from search.text import counted


def descent_of(winner: TrialRecord, records: Sequence[TrialRecord], *, sampler_learns: bool) -> str:
    """Return in words how the winner depends on stored networks; "" if the sampler did not propose it.

    A mutation descends from its parent. A proposal of a model of all finished trials has no parent, but stored or
    adopted networks among these trials have shaped the model.

    records         trials of the study, also adopted ones
    sampler_learns  whether the sampler's proposals depend on earlier trials
    """
    if origin_of(winner).kind != PROPOSED:
        return ""
    ancestors = _ancestors(winner, records)
    root = ancestors[-1] if ancestors else winner
    if origin_of(root).kind != PROPOSED:
        return f"{origin_of(root)}, through {counted(len(ancestors), 'mutation')}"
    if root.is_drawn or not sampler_learns:
        drawn = f"trial {root.number}, which was drawn at random, through {counted(len(ancestors), 'mutation')}"
        return f"no stored network, but {drawn}" if ancestors else "no stored network: it was drawn at random"
    earlier = [record for record in records if record.number < winner.number and record.outcome == FINISHED]
    counts = [
        counted(sum(origin_of(record).kind in kinds for record in earlier), noun)
        for noun, kinds in (("stored network", (HAND_DESIGNED, STARTING_POINT)), ("adopted network", (ADOPTED,)))
        if any(origin_of(record).kind in kinds for record in earlier)
    ]
    if counts:
        found_again = origin_of(root).stored
        beginning = f"{found_again}, and" if found_again else "no stored network, but"
        return f"{beginning} the results of {' and '.join(counts)} were known when it was proposed"
    return "no stored network, and none was trained before it"


def _ancestors(record: TrialRecord, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trial that a trial is a mutation of, the one before that, and so on."""
    by_number = {other.number: other for other in records}
    ancestors: list[TrialRecord] = []
    # A parent is an earlier trial. The comparison keeps damaged records from going round in circles.
    while record.parent is not None and record.parent in by_number and record.parent < record.number:
        record = by_number[record.parent]
        ancestors.append(record)
    return ancestors
