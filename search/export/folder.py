"""A folder that appears whole or not at all, in place of an earlier one of its kind or of nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.errors import InputError
from search.study.card import CARD


def check_folder(folder: Path, *, force: bool) -> None:
    """Raise InputError unless `folder` is free: whatever is not an earlier export is somebody's work.

    force: an earlier export may be replaced.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / CARD).is_file():
        raise InputError(f"{folder} exists and is not an exported model; name another folder with --out")
    if not force:
        raise InputError(f"{folder} exists; replace it with --force, or name another folder with --out")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder to write in, which becomes `folder` at the end; on any error, `folder` is as it was.

    Raises InputError where it cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True
        ) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            yield new
            _put_in_place(new, folder, aside=Path(scratch) / "old")
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}; name another folder with --out") from error


def _put_in_place(new: Path, folder: Path, aside: Path) -> None:
    """Rename `new` to `folder`, and what was there to `aside`; back again if that is interrupted."""
    try:
        if folder.exists():
            os.rename(folder, aside)
        os.rename(new, folder)
    except BaseException:
        if aside.exists() and not folder.exists():
            os.rename(aside, folder)
        raise
