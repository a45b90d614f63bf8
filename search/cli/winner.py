"""Find the winner of a study without its report, whose modules take seconds to import."""

from __future__ import annotations

from collections.abc import Sequence

from search.config import SearchConfig
from search.errors import InputError
from search.evidence.confirm import Confirmation, confirmation
from search.evidence.runner import repeats_of
from search.study.location import StudyLocation
from search.study.trials import TrialRecord, finished_trial


def confirmation_of(
    location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig
) -> Confirmation | None:
    """Return the confirmation of a study, or None if its winner is not confirmed."""
    results, plan = repeats_of(location)
    return confirmation(plan, records, results, config) if plan else None


def winner_or_trial(
    location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig, number: int | None
) -> TrialRecord:
    """Return the finished trial of that number, or the winner for None. Raises InputError if there is none."""
    if number is None and (confirmed := confirmation_of(location, records, config)):
        number = confirmed.trial
    record = finished_trial(records, number)
    if record.arch is None:
        raise InputError(f"trial {record.number} was recorded without its network; name another trial")
    return record
