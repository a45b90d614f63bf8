"""A PostgreSQL server for the tests: its own data, its own port, its own password, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER, PASSWORD = "search", "s3cret{word}"
# The server refuses to run as root.
OTHERS = ("postgres", "nobody")


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server; the URL of its database, password included. Skips the test where there is none to start."""
    programs = _programs()
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's own folders are closed to other users
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if user:
            for path in (folder, secret):
                shutil.chown(path, user)
        data, port = folder / "data", _free_port()

        def call(program: str, *arguments: object) -> None:
            words = [str(programs / program), *map(str, arguments)]
            subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, user=user, timeout=120)

        access = ("--auth", "scram-sha-256", "--username", USER, "--pwfile", secret)
        call("initdb", "--no-sync", "--encoding", "UTF8", *access, data)
        options = f"-F -p {port} -k {folder} -c listen_addresses=127.0.0.1"
        call("pg_ctl", "--pgdata", data, "--log", folder / "log", "--options", options, "--wait", "start")
        try:
            yield f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "--pgdata", data, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or not (folders[-1] / "initdb").is_file():
        pytest.skip("no PostgreSQL server is installed")
    return folders[-1]


def _user() -> str | None:
    """Whom the server runs as, where not as the present user."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in OTHERS if name in known)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
