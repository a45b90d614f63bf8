"""Start a PostgreSQL server and PgBouncer for the tests, with temporary data, ports and a password of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

USER, PASSWORD = "search", "s3cret{word}"
# Users that the server may run as: it refuses to run as root.
SERVER_USERS = ("postgres", "nobody")


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server and yield the URL of its database, with the password; skip the test if none is installed."""
    programs = _programs()
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # other users cannot read the folders of pytest
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


@contextmanager
def pgbouncer(server: str, pool_size: int) -> Iterator[str]:
    """Start PgBouncer in transaction mode for a server and yield its URL; skip the test if it is not installed.

    pool_size: the largest number of connections to the server
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    user, address = _user(), make_url(server)
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    try:
        port = _free_port()
        settings, secrets = folder / "pgbouncer.ini", folder / "userlist.txt"
        secrets.write_text(f'"{USER}" "{PASSWORD}"\n')
        settings.write_text(
            f"""
[databases]
{address.database} = host={address.host} port={address.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {secrets}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
query_wait_timeout = 60
"""
        )
        for path in (folder, settings, secrets):
            if user:
                shutil.chown(path, user)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, str(settings)], cwd=folder, stdout=log, stderr=log, user=user)
        url = address.set(port=port).render_as_string(hide_password=False)
        try:
            while not _answers(url):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            yield url
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


def _programs() -> Path:
    program = shutil.which("initdb")
    folders = [Path(program).parent] if program else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or not (folders[-1] / "initdb").is_file():
        pytest.skip("no PostgreSQL server is installed")
    return folders[-1]


def _user() -> str | None:
    """Return the user that the server runs as, or None for the current user."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in SERVER_USERS if name in names)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
