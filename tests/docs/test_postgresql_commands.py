"""Test that the commands of the pages for a PostgreSQL server work, up to the start of the workers."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.crash.server import PASSWORD, USER, pgbouncer, postgresql
from tests.docs.test_commands import begun_or_status, commands_in
from tests.docs.test_pages import DOCS, FENCE, PAGES, text_of

pytestmark = pytest.mark.server


def set_up_commands() -> list[list[str]]:
    """Return the commands that create the user and the database, in their order."""
    blocks = "\n".join(code for _, code in FENCE.findall(text_of(DOCS / "distributed.md")))
    (line,) = re.findall(r"^createuser .*?(?=  #)", blocks, re.MULTILINE)
    return [shlex.split(command) for command in line.split("&&")]


@pytest.mark.usefixtures("threads_as_before")
def test_every_command_for_a_server_works(
    real_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(real_mnist))
    with postgresql() as url:
        address = make_url(url)
        for name, value in {"PGHOST": address.host, "PGPORT": address.port, "PGUSER": USER}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        create_user, create_database = set_up_commands()
        # The server of the tests has the user of the pages already. The password is read from stdin without a terminal.
        create_user = [word.replace(USER, "another") for word in create_user]
        for command in (create_user, create_database):
            subprocess.run(command, input=b"secret\nsecret\n", check=True, capture_output=True, start_new_session=True)
        psycopg.connect(f"postgresql://another:secret@{address.host}:{address.port}/search").close()
        direct = address.set(database="search")
        with pgbouncer(direct.render_as_string(hide_password=False), pool_size=5) as bouncer:
            places = {
                "server": f"{direct.host}:{direct.port}",
                "10.0.0.1:6432": f"{address.host}:{make_url(bouncer).port}",
            }
            commands = [command for page in PAGES for command in commands_in(page) if "postgresql://" in command]
            assert len(commands) == 3
            for command in commands:
                (place,) = re.findall(r"postgresql://search@(.+?)/search", command)
                arguments = shlex.split(command.replace(place, places[place]))
                assert begun_or_status(command, arguments, monkeypatch) == "begun", capsys.readouterr().err
