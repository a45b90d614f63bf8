"""Write the projects that build the network and run its self-test: CMake, PlatformIO with Arduino, and Zephyr."""

from __future__ import annotations

from pathlib import Path

from search.export.int8.c_source import renamed

FOLDER = "firmware"
TEMPLATES = Path(__file__).parents[1] / "templates" / FOLDER


def write_projects(folder: Path, prefix: str) -> None:
    """Write the projects to `folder`/firmware. prefix: beginning of the names of the C files and functions."""
    for path in filter(Path.is_file, TEMPLATES.rglob("*")):
        target = folder / FOLDER / path.relative_to(TEMPLATES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(renamed(path.read_text(encoding="utf-8"), prefix), encoding="utf-8")
