"""The notes of a study's trials in the dashboard: written once, while the study runs or afterwards."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial

from search.config import SearchConfig
from search.dashboard.trial_note import trial_note
from search.errors import explained
from search.storage.optuna_internals import EndedTrial, storage_of, study_id_of, trial_id_of
from search.study.trials import TrialRecord

# The study's attribute with a digest of every note written here, by the trial's number.
WRITTEN = "search:notes"


class NoteWriter:
    """Writes the note of every trial that has ended. Called again and again, it looks only at what has ended since.

    A note that its reader has changed in the dashboard is left as it is.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._done: set[int] = set()
        self._has_failed = False

    def __call__(self, study: optuna.Study) -> None:
        """Write what is missing. Never raises: a study of hours does not end for a note; the first failure is told."""
        try:
            ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
            self.write(study, [trial for trial in ended if trial.number not in self._done])
        except Exception as error:
            if not self._has_failed:
                reason = explained(error) or f"{error!r:.200}"
                print(f"\nsearch.py: the dashboard's notes could not be written: {reason}", file=sys.stderr)
            self._has_failed = True

    def write(
        self, study: optuna.Study, ended: Iterable[FrozenTrial], remarks: Mapping[int, str] | None = None
    ) -> None:
        """Write the notes of these trials where they are missing or say something else. remarks: by number."""
        notes = [
            (trial, trial_note(TrialRecord.from_trial(trial), self._config, (remarks or {}).get(trial.number, "")))
            for trial in ended
        ]
        if notes:
            _save(study, notes)
            self._done |= {trial.number for trial, _ in notes}


def _save(study: optuna.Study, notes: Sequence[tuple[FrozenTrial, str]]) -> None:
    from optuna_dashboard import get_note, save_note

    storage = storage_of(study)
    written: dict[str, str] = storage.get_study_system_attrs(study_id_of(study)).get(WRITTEN, {})
    new = [(trial, text) for trial, text in notes if written.get(str(trial.number)) != _digest(text)]
    for trial, text in new:
        noted = EndedTrial(storage, study, trial_id_of(trial))
        there = get_note(noted)
        if not there or _digest(there) == written.get(str(trial.number)):
            save_note(noted, text)
        written[str(trial.number)] = _digest(text)
    if new:
        storage.set_study_system_attr(study_id_of(study), WRITTEN, written)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
