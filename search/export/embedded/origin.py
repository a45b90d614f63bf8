"""Describe, for the comment of a generated C file, where its network comes from and on what terms it may be used."""

from __future__ import annotations

import hashlib
from pathlib import Path

from search.config import VERSION
from search.export.trained_model import ModelSource

LICENCE = (
    "Licence: the code of this file may be used, changed and passed on without restriction and without warranty. "
    "Whoever trained the network decides on the terms of its weights."
)


def origin_notes(source: ModelSource, weights: Path) -> tuple[str, ...]:
    """Return paragraphs with the program, the study, the result, the checksum of the weights file, and the licence."""
    trial = "" if source.trial is None else f", trial {source.trial}"
    network = f", network {source.network}" if source.network else ""
    return (
        f"Written by search.py {VERSION} from study {source.study}{trial}{network}: {source.result}. "
        f"{source.selection_note}",
        f"SHA-256 of {weights.name}, the weights in floating point: {hashlib.sha256(weights.read_bytes()).hexdigest()}",
        LICENCE,
    )
