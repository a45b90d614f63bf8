"""Files that a user hands in: spaces that are none."""

from __future__ import annotations

import gzip

import pytest

from tests.bad_input.handed_in import write
from tests.bad_input.refusals import RUN, Refuses, short

SPACES: list[tuple[str | bytes | None, str]] = [
    ("", "changes no dimension; python search.py space lists them"),
    ("# nothing", "changes no dimension"),
    (None, "cannot read the space file: Is a directory; name another with --space"),
    (b"\xff\xfe", "not TOML: 'utf-8' codec can't decode"),
    (gzip.compress(b"stages = 2", mtime=0), "not TOML: "),
    (b"#" * 1_000_001, "not TOML: it has more than 1,000,000 bytes"),
    ('{"stages": 2}', "not TOML: "),
    ("stages = ", "not TOML: "),
    ("stages = 2\nstages = 3", "not TOML: Cannot overwrite a value"),
    ("dropout = 0.1\ndropout = 0.2", "not TOML: Cannot overwrite a value"),
    ("stages.1.widht = 16", "unknown dimension 'stages.1.widht'; the nearest is 'stages.1.width'"),
    ("x" * 5000 + " = 1", "unknown dimension 'xxxx"),
    ('"" = 1', "unknown dimension ''; the nearest is"),
    ("stages.4.depth = 2", "unknown dimension 'stages.4.depth'"),
    ("sgd = 1", "unknown dimension 'sgd'; the nearest is"),
    ("stages.1.width.1 = {low = 3, hgih = 4}", "unknown dimension 'stages.1.width.1."),
    ("stages = 0", "stages must be from 1 to 5, got 0"),
    ("stages = 4", "stages must be from 1 to 3, got 4; images of this size allow no more"),
    ("stages = 6", "stages must be from 1 to 5, got 6; nothing else can be built"),
    ("stages = -1", "got -1"),
    ("stages = 2.0", "stages must be from 1 to 5, got 2.0"),
    ("stages = '2'", 'got "2"'),
    ("stages = true", "got true"),
    ("stages = []", "stages needs at least one choice, got []"),
    ("stages = [[2]]", "got [2]"),
    ("stages = 1" + "0" * 30, "stages must be from 1 to 5, got 1000"),
    ("stages = 0x" + "f" * 9000, "stages must be from 1 to 5, got a int that is too large to be shown"),
    ("dropout = 1" + "0" * 400, "dropout must be from 0 to 0.9, got 1000"),
    ("dropout = nan", "dropout must be from 0 to 0.9, got NaN"),
    ("dropout = inf", "got Infinity"),
    ("dropout = -0.1", "got -0.1"),
    ("dropout = 2020-01-01", 'got "2020-01-01"'),
    ("dropout = {low = 0.5, high = 0.1}", "dropout: low must not be above high, got 0.5 to 0.1"),
    ("dropout = {low = nan}", "got NaN"),
    ("head.kind = 'softmax'", "head.kind must be one of"),
    ("head.kind = {low = 'conv'}", "head.kind takes a value or a list of choices, not a range"),
    ("batch_size = 1", "batch_size must be from 2 to 4096, got 1"),
    ("sgd.lr = 0", "sgd.lr must be from 1e-08 to 100, got 0"),
    ("x = " + "[" * 5000, "nested too deeply; a name has at most four parts"),
    ("stages.1.kernel = " + "[" * 200 + "]" * 200, "stages.1.kernel must be one of 3, 5, 7, got [[["),
    (".".join("a" * 3000) + " = 1", "my.toml: "),
]


@pytest.mark.parametrize(("content", "words"), SPACES, ids=short)
def test_spaces_that_are_none(refuses: Refuses, content: str | bytes | None, words: str) -> None:
    write(refuses.folder, "my.toml", content)
    refuses(["space", "--space", "my.toml"], "my.toml: ", words)


@pytest.mark.parametrize(("content", "words"), SPACES[7:12], ids=short)
def test_no_search_begins_in_them(refuses: Refuses, content: str | bytes | None, words: str) -> None:
    write(refuses.folder, "my.toml", content)
    refuses([*RUN, "--space", "my.toml"], "my.toml: ", words)
