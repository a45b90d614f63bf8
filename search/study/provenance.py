"""Record the code revision, the versions and the machine of a run, so that it can be repeated."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from search.errors import InputError
from search.files import write_whole
from search.storage.url import without_secrets

PACKAGES = ("torch", "torchvision", "optuna", "pandas", "scikit-learn", "numpy")


def environment() -> dict[str, Any]:
    """Return versions, machine and code revision as plain JSON types."""
    return {
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "revision": _revision(),
    }


def version_of(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _revision() -> str | None:
    """Return the git commit of this code, followed by "+changes" if files differ from it; None outside a checkout.

    Changes of studies do not count, because a run changes the study even if that came with the repository.
    """
    root = Path(__file__).resolve().parents[2]
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout
            for arguments in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no", "--", ".", ":!studies"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+changes" if status.strip() else "")


def read_runs(path: Path) -> list[Any]:
    """Return the `runs` of config.json, none if the file is missing. Raises InputError for a damaged file."""
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; move it away, the study does not need it") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(runs, list):
        raise _damaged(path)
    return runs


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is damaged, it has no list of runs; move it away, the study does not need it")


def write_config(path: Path, settings: Mapping[str, Any]) -> None:
    """Write config.json with the settings, and with one entry in `runs` for each run of the study, this one last."""
    argv = list(without_secrets(sys.argv[1:]))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    runs = [*read_runs(path), {"started": started, "argv": argv, **environment()}]
    write_whole(path, json.dumps({"settings": dict(settings), "runs": runs}, indent=2) + "\n")
