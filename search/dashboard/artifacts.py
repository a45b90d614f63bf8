"""Files kept with a study's trials for the dashboard: Optuna's artifacts, each made once for what it is made of."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from search.storage.optuna_internals import ARTIFACTS_PREFIX, artifact_key, storage_of, study_id_of

# Python's own table depends on the machine, where .pt may be a page table of a games console.
_KINDS = {".png": "image/png", ".csv": "text/csv", ".html": "text/html", ".py": "text/x-python"}


class StudyArtifacts:
    """The files of one study. folder: of the artifacts of all studies; it is made where it is missing.

    Optuna attaches a file to a running trial only. The dashboard also reads those that are noted with the study, under
    the trial's id, as its own first versions did.
    """

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._study = study
        self._folder = folder
        self._store = FileSystemArtifactStore(str(folder))
        attrs = storage_of(study).get_study_system_attrs(study_id_of(study))
        self._noted = {key: json.loads(value) for key, value in attrs.items() if key.startswith(ARTIFACTS_PREFIX)}

    def needs(self, trial: FrozenTrial, name: str, source: bytes) -> bool:
        """Return whether the trial lacks file `name`, or has one that was made from something else."""
        artifact = self._id(trial, name, source)
        return self._noted.get(artifact_key(trial, artifact)) is None or not (self._folder / artifact).is_file()

    def attach(self, trial: FrozenTrial, name: str, source: bytes, make: Callable[[], bytes]) -> None:
        """Attach file `name` in place of an earlier one; do nothing if that was made from the same `source`."""
        if not self.needs(trial, name, source):
            return
        artifact = self._id(trial, name, source)
        content = make()
        self._store.write(artifact, io.BytesIO(content))
        kind = _KINDS.get(Path(name).suffix, "application/octet-stream")
        facts = {"artifact_id": artifact, "filename": name, "mimetype": kind, "encoding": None}
        self._note(artifact_key(trial, artifact), facts)
        self._detach(trial, name, kept=artifact)

    def detach(self, trial: FrozenTrial, name: str) -> None:
        """Remove file `name`, if there is one."""
        self._detach(trial, name)

    def detach_missing(self) -> None:
        """Detach files that are missing from the folder: the dashboard would offer what it cannot serve."""
        for key, facts in list(self._noted.items()):
            if facts is not None and not (self._folder / facts["artifact_id"]).is_file():
                self._note(key, None)

    def _detach(self, trial: FrozenTrial, name: str, kept: str | None = None) -> None:
        for key, facts in list(self._noted.items()):
            mine = key.startswith(artifact_key(trial, "")) and facts is not None
            if mine and facts["filename"] == name and facts["artifact_id"] != kept:
                self._note(key, None)
                with suppress(ArtifactNotFound):
                    self._store.remove(facts["artifact_id"])

    def _note(self, key: str, facts: Mapping[str, Any] | None) -> None:
        if self._noted.get(key) != facts or key not in self._noted:
            storage_of(self._study).set_study_system_attr(study_id_of(self._study), key, json.dumps(facts))
            self._noted[key] = None if facts is None else dict(facts)

    def _id(self, trial: FrozenTrial, name: str, source: bytes) -> str:
        """Return the id of a file, equal for the same file of the same trial, so that nothing is kept twice."""
        whose = f"{self._study.study_name}/{trial.number}/{name}\n".encode()
        return hashlib.sha256(whose + source).hexdigest()[:32]
