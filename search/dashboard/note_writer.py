"""Write the notes of the trials of a study for the dashboard, while the study runs or afterwards."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial

from search.config import SearchConfig
from search.dashboard.trial_note import trial_note
from search.errors import explanation
from search.storage.optuna_internals import EndedTrial, storage_of, study_id_of, trial_id_of
from search.study.trials import TrialRecord

# Attribute of the study with a digest of every note that was written here, by the number of the trial.
WRITTEN = "search:notes"


class NoteWriter:
    """Writer of the notes of all trials that have ended.

    Each call considers only the trials that have ended since the last one. A note that a reader has changed in the
    dashboard is left as it is.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._done: set[int] = set()
        self._has_failed = False

    def __call__(self, study: optuna.Study) -> None:
        """Write the missing notes.

        Errors are never raised, as a note must not end a study of many hours. The first one is printed.
        """
        try:
            ended_trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
            self.write(study, [trial for trial in ended_trials if trial.number not in self._done])
        except Exception as error:
            if not self._has_failed:
                reason = explanation(error) or f"{error!r:.200}"
                print(f"\nsearch.py: the dashboard's notes could not be written: {reason}", file=sys.stderr)
            self._has_failed = True

    def write(
        self, study: optuna.Study, trials: Iterable[FrozenTrial], remarks: Mapping[int, str] | None = None
    ) -> None:
        """Write the notes of trials that lack one or have an outdated one; `remarks` are by number of the trial."""
        notes = [
            (trial, trial_note(TrialRecord.from_trial(trial), self._config, (remarks or {}).get(trial.number, "")))
            for trial in trials
        ]
        if notes:
            _save(study, notes)
            self._done |= {trial.number for trial, _ in notes}


def _save(study: optuna.Study, notes: Sequence[tuple[FrozenTrial, str]]) -> None:
    from optuna_dashboard import get_note, save_note

    storage = storage_of(study)
    written: dict[str, str] = storage.get_study_system_attrs(study_id_of(study)).get(WRITTEN, {})
    changed_notes = [(trial, text) for trial, text in notes if written.get(str(trial.number)) != _digest(text)]
    for trial, text in changed_notes:
        noted_trial = EndedTrial(storage, study, trial_id_of(trial))
        current = get_note(noted_trial)
        if not current or _digest(current) == written.get(str(trial.number)):
            save_note(noted_trial, text)
        written[str(trial.number)] = _digest(text)
    if changed_notes:
        storage.set_study_system_attr(study_id_of(study), WRITTEN, written)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
