"""Write the folder of an export atomically: it appears complete or not at all, and may replace an earlier export."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.errors import InputError
from search.study.card import CARD


def check_folder(folder: Path, *, force: bool) -> None:
    """Raise InputError unless `folder` is missing, empty, or an earlier export that may be replaced.

    force: True if an earlier export may be replaced. A folder of any other kind is never replaced, because it may hold
    work that is stored nowhere else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / CARD).is_file():
        raise InputError(f"{folder} exists and is not an exported model; name another folder with --out")
    if not force:
        raise InputError(f"{folder} exists; replace it with --force, or name another folder with --out")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which becomes `folder` at the end; on any error `folder` stays unchanged.

    Raises InputError if the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True
        ) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            yield new
            _replace_folder(new, folder, backup=Path(scratch) / "old")
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}; name another folder with --out") from error


def _replace_folder(new: Path, folder: Path, backup: Path) -> None:
    """Rename `new` to `folder` and the earlier folder to `backup`; restore the earlier folder on an interruption."""
    try:
        if folder.exists():
            os.rename(folder, backup)
        os.rename(new, folder)
    except BaseException:
        if backup.exists() and not folder.exists():
            os.rename(backup, folder)
        raise
