"""Errors that end a command with one line, and what a person is told about faults of disks and databases."""

from __future__ import annotations

import errno
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


class InputError(Exception):
    """Something its user can put right. Shown as one line, exit status 2."""


class FailureError(Exception):
    """The job could not be done, and not for want of better input. Shown as one line, exit status 1."""


_FULL = "make room, and the same command goes on"
_RIGHTS = "it can only be read, or not at all; see to its rights, or take another place"
_BY_NUMBER = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
}
# By words of SQLite's.
_BY_WORDS = {
    "locked": "another program holds it; end that one, and the same command goes on",
    "readonly": _RIGHTS,
    "full": _FULL,
    "malformed": "it is damaged; restore it from a copy",
    "not a database": "it is damaged; restore it from a copy",
}


def explained(error: Exception) -> str | None:
    """Say what a person can do about an error of the system or the storage; None of a defect of this program."""
    if isinstance(error, UnicodeEncodeError):
        return f"the output cannot hold {error.object[error.start]!r} in {error.encoding}; set PYTHONIOENCODING=utf-8"
    if isinstance(error, json.JSONDecodeError):
        if not _passed_through(error, "optuna"):
            return None
        return f"the storage holds something that is no JSON: {error}; restore it from a copy"
    if isinstance(error, OSError):
        if not error.filename and error.errno not in _BY_NUMBER:
            return None
        where = f"{error.filename}: " if error.filename else "cannot write: "
        way_out = _BY_NUMBER.get(error.errno or 0, "check that path")
        return f"{where}{error.strerror or error}; {way_out}"
    reason = _storage_reason(error)
    if reason is None:
        return None
    return f"the storage failed: {reason}; {_way_out(reason, 'once it is there again, the same command goes on')}"


def _passed_through(error: Exception, package: str) -> bool:
    """Return whether the error came up through code of that package."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(package in Path(frame.f_code.co_filename).parts for frame, _ in frames)


def cannot_open(url: URL, error: Exception) -> str:
    """Say why a storage cannot be opened, and what to do; never its password."""
    reason = _storage_reason(error) or (str(error).splitlines() or [type(error).__name__])[0]
    if url.password:
        reason = reason.replace(str(url.password), "***")
    where = f" ({url.database:.200})" if url.get_backend_name() == "sqlite" else ""
    return f"cannot open the {url.drivername} storage: {reason}{where}; {_way_out(reason, 'check --storage')}"


def _storage_reason(error: BaseException | None) -> str | None:
    """Return the first line of what a database said; None of an error that is not a database's."""
    from sqlalchemy.exc import SQLAlchemyError

    while error is not None and not isinstance(error, SQLAlchemyError):
        error = error.__cause__  # Optuna's own errors of the storage tell nothing but that
    if error is None:
        return None
    said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return said.splitlines()[0]


def _way_out(reason: str, otherwise: str) -> str:
    return next((way_out for words, way_out in _BY_WORDS.items() if words in reason), otherwise)
