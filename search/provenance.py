"""What it takes to repeat a run: code, versions, machine."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "optuna", "pandas", "scikit-learn", "numpy")


def environment() -> dict[str, Any]:
    """Versions, machine and code revision, as plain JSON types."""
    return {
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "revision": _revision(),
    }


def version_of(package: str) -> str | None:
    """Of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _revision() -> str | None:
    """The git commit of this code, with "+changes" where files differ from it; None outside a checkout.

    Studies are left out: a study that comes with the repository is changed by being run.
    """
    root = Path(__file__).resolve().parent.parent
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


def write_config(path: Path, settings: Mapping[str, Any]) -> None:
    """Write or extend config.json: the settings once, and one entry in `runs` for every time the study was run."""
    try:
        runs = list(json.loads(path.read_text())["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        runs = []
    argv = list(map(without_password, sys.argv[1:]))
    runs.append({"started": datetime.now(UTC).isoformat(timespec="seconds"), "argv": argv, **environment()})
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(json.dumps({"settings": dict(settings), "runs": runs}, indent=2) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def without_password(text: str) -> str:
    """The same with *** for the passwords of database URLs, between ':' and the last '@' or in the query."""
    text = re.sub(r"(://[^:/@]*:).*@", r"\1***@", text)
    return re.sub(r"((?:ssl)?password=)[^&\s]*", r"\1***", text, flags=re.IGNORECASE)
