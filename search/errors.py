"""Errors that end a command with one line, and messages for errors of disks and databases."""

from __future__ import annotations

import errno
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


class InputError(Exception):
    """Error that the user can correct. It is shown as one line, and the exit status is 2."""


class FailureError(Exception):
    """Error of a command that failed although its input is valid. It is shown as one line, and the exit status is 1."""


_FREE_SPACE = "free some space, then repeat the command to continue"
_PERMISSIONS = "check its permissions, or choose another location"
_REMEDIES_BY_NUMBER = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: _FREE_SPACE,
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EROFS: _PERMISSIONS,
}
# The keys occur in messages of SQLite.
_REMEDIES_BY_WORD = {
    "locked": "another program has locked it; end that program, then repeat the command to continue",
    "readonly": _PERMISSIONS,
    "full": _FREE_SPACE,
    "malformed": "it is damaged; restore it from a copy",
    "not a database": "it is damaged; restore it from a copy",
}


def explanation(error: Exception) -> str | None:
    """Return a message that explains an error of the system or the storage; None for a defect of this program."""
    if isinstance(error, UnicodeEncodeError):
        return f"the output cannot hold {error.object[error.start]!r} in {error.encoding}; set PYTHONIOENCODING=utf-8"
    if isinstance(error, json.JSONDecodeError):
        if not _passed_through(error, "optuna"):
            return None
        return f"the storage holds invalid JSON: {error}; restore it from a copy"
    if isinstance(error, OSError):
        if not error.filename and error.errno not in _REMEDIES_BY_NUMBER:
            return None
        subject = f"{error.filename}: " if error.filename else "cannot write: "
        remedy = _REMEDIES_BY_NUMBER.get(error.errno or 0, "check that path")
        return f"{subject}{error.strerror or error}; {remedy}"
    reason = _storage_reason(error)
    if reason is None:
        return None
    remedy = _remedy(reason, "when it is available again, repeat the command to continue")
    return f"the storage failed: {reason}; {remedy}"


def _passed_through(error: Exception, package: str) -> bool:
    """Return whether an error passed through the code of a package."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(package in Path(frame.f_code.co_filename).parts for frame, _ in frames)


def cannot_open(url: URL, error: Exception) -> str:
    """Return a message that says why a storage cannot be opened, and what to do; the password is left out."""
    reason = _storage_reason(error) or (str(error).splitlines() or [type(error).__name__])[0]
    if url.password:
        reason = reason.replace(str(url.password), "***")
    file = f" ({url.database:.200})" if url.get_backend_name() == "sqlite" else ""
    return f"cannot open the {url.drivername} storage: {reason}{file}; {_remedy(reason, 'check --storage')}"


def _storage_reason(error: BaseException | None) -> str | None:
    """Return the first line of a database's error message; None for an error that no database raised."""
    from sqlalchemy.exc import SQLAlchemyError

    while error is not None and not isinstance(error, SQLAlchemyError):
        error = error.__cause__  # Optuna's own storage errors do not state the reason
    if error is None:
        return None
    message = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return message.splitlines()[0]


def _remedy(reason: str, default: str) -> str:
    return next((remedy for word, remedy in _REMEDIES_BY_WORD.items() if word in reason), default)
