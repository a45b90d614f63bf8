"""Find the winner of a study without its report and without statistics, whose modules take seconds to import."""

from __future__ import annotations

from collections.abc import Sequence

from search.config import SearchConfig
from search.errors import InputError
from search.evidence.confirm import choose, reporting
from search.evidence.read import repeats_of
from search.study.location import StudyLocation
from search.study.trials import TrialRecord, finished_trial


def confirmed(
    location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig
) -> tuple[int, list[float]] | None:
    """Return the number of the confirmed winner and its values over fresh seeds, or None if none is confirmed."""
    results, plan = repeats_of(location)
    winner = choose(plan, records, results, config) if plan else None
    if plan is None or winner is None:
        return None
    values = {result.repeat.identity: result.value for result in results}
    repeats = [repeat.identity for repeat in reporting(plan, winner, records, config) if repeat.trial == winner]
    is_complete = repeats and all(identity in values for identity in repeats)
    return (winner, [values[identity] for identity in repeats]) if is_complete else None


def winner_or_trial(
    location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig, number: int | None
) -> TrialRecord:
    """Return the finished trial of that number, or the winner for None. Raises InputError if there is none."""
    winner = confirmed(location, records, config) if number is None else None
    record = finished_trial(records, winner[0] if winner else number)
    if record.arch is None:
        raise InputError(f"trial {record.number} was recorded without its network; name another trial")
    return record
