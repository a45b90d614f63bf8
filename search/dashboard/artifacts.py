"""Store files with the trials of a study for the dashboard, as Optuna artifacts that are made once per source."""

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

# The table of Python's mimetypes depends on the machine; .pt may have another meaning there.
_MIME_TYPES = {".png": "image/png", ".csv": "text/csv", ".html": "text/html", ".py": "text/x-python"}


class StudyArtifacts:
    """Files that belong to the trials of one study.

    folder is the folder of the artifacts of all studies; it is created if it is missing.

    Optuna attaches files to running trials only. The dashboard also reads files that are listed in attributes of the
    study under the id of the trial, as its first versions stored them.
    """

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._study = study
        self._folder = folder
        self._store = FileSystemArtifactStore(str(folder))
        attrs = storage_of(study).get_study_system_attrs(study_id_of(study))
        self._noted = {key: json.loads(value) for key, value in attrs.items() if key.startswith(ARTIFACTS_PREFIX)}

    def needs(self, trial: FrozenTrial, name: str, source: bytes) -> bool:
        """Return whether the trial lacks file `name`, or has one that was made from another source."""
        artifact = self._id(trial, name, source)
        return self._noted.get(artifact_key(trial, artifact)) is None or not (self._folder / artifact).is_file()

    def attach(self, trial: FrozenTrial, name: str, source: bytes, make: Callable[[], bytes]) -> None:
        """Attach file `name` in place of an earlier one, unless that was made from the same `source`."""
        if not self.needs(trial, name, source):
            return
        artifact = self._id(trial, name, source)
        content = make()
        self._store.write(artifact, io.BytesIO(content))
        kind = _MIME_TYPES.get(Path(name).suffix, "application/octet-stream")
        facts = {"artifact_id": artifact, "filename": name, "mimetype": kind, "encoding": None}
        self._note(artifact_key(trial, artifact), facts)
        self._detach(trial, name, kept=artifact)

    def detach(self, trial: FrozenTrial, name: str) -> None:
        """Remove file `name` from the trial, if it has one."""
        self._detach(trial, name)

    def detach_missing(self) -> None:
        """Detach files that are missing from the folder, as the dashboard could not serve them."""
        for key, facts in list(self._noted.items()):
            if facts is not None and not (self._folder / facts["artifact_id"]).is_file():
                self._note(key, None)

    def _detach(self, trial: FrozenTrial, name: str, kept: str | None = None) -> None:
        for key, facts in list(self._noted.items()):
            belongs_to_trial = key.startswith(artifact_key(trial, "")) and facts is not None
            if belongs_to_trial and facts["filename"] == name and facts["artifact_id"] != kept:
                self._note(key, None)
                with suppress(ArtifactNotFound):
                    self._store.remove(facts["artifact_id"])

    def _note(self, key: str, facts: Mapping[str, Any] | None) -> None:
        if self._noted.get(key) != facts or key not in self._noted:
            storage_of(self._study).set_study_system_attr(study_id_of(self._study), key, json.dumps(facts))
            self._noted[key] = None if facts is None else dict(facts)

    def _id(self, trial: FrozenTrial, name: str, source: bytes) -> str:
        """Return the id of a file; equal names, trials and sources give equal ids, so that no file is stored twice."""
        owner = f"{self._study.study_name}/{trial.number}/{name}\n".encode()
        return hashlib.sha256(owner + source).hexdigest()[:32]
