"""The pages for readers: links lead somewhere, commands and options exist, the Python of docs/python.md runs."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from models.blocks import BLOCKS
from models.spec import BLOCK_KINDS, Block
from search.cli.main import make_parser
from search.config import FORMATS, PRUNERS, SAMPLERS
from search.limits import LIMITS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
MANUAL = [page for page in PAGES if page.name != "CONTRIBUTING.md"]
MAX_README_LINES = 130
# Options of other programs that the pages name.
FOREIGN = {
    "--artifact-dir",  # optuna-dashboard
    "--commonest",  # benchmarks.signs
    "--dist",  # pytest-xdist
    "--index-url",  # pip
    "--owner",  # createdb
    "--old",  # benchmarks.data.reading
    "--pwprompt",  # createuser
    "--size",  # benchmarks.signs
    "--summary",  # model.py
    "--test",  # model.py
    "--update-golden",  # pytest
}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
CODE_SPAN = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
each_of_manual = pytest.mark.parametrize("page", MANUAL, ids=lambda page: page.relative_to(ROOT).as_posix())


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


# --- links ----------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = LINK.sub(lambda link: link[0].partition("](")[0][1:], heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        n = found.count(anchor)
        found += [anchor, f"{anchor}-{n}"] if n else [anchor]
    return set(found)


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead to no file or to no heading."""
    broken = []
    for target in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(text_of(file) if path else text)):
            broken.append(target)
    return broken


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken_links(page, text_of(page)) == []


def test_a_broken_link_is_found() -> None:
    text = "# Two `words`: here\n[a](nowhere.md) [b](#no) [c](README.md#no) [d](#two-words-here) [e](https://x.y/z)"
    assert broken_links(DOCS / "limits.md", text) == ["nowhere.md", "#no", "README.md#no"]


def test_the_index_links_to_every_page() -> None:
    linked = {target.partition("#")[0] for target in LINK.findall(text_of(DOCS / "README.md"))}
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


def test_the_readme_is_short() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= MAX_README_LINES


# --- commands -------------------------------------------------------------------------------------------------------


@cache
def options() -> dict[str, frozenset[str]]:
    """The options of every command, by its name; under "" those that stand before any command."""
    parser = make_parser()
    parsers = {"": parser}
    for action in parser._actions:
        parsers |= action.choices if isinstance(action.choices, dict) else {}
    return {name: frozenset(parser._option_string_actions) for name, parser in parsers.items()}


def code_in(text: str) -> list[str]:
    """The lines of code blocks, continued ones joined and without comments, and the code spans."""
    blocks = "\n".join(code for language, code in FENCE.findall(text) if language != "python")
    lines = [line.split("  #")[0] for line in re.sub(r"\\\n\s*", "", blocks).splitlines()]
    return [*lines, *(" ".join(span.split()) for span in CODE_SPAN.findall(FENCE.sub("", text)))]


def unknown_commands(text: str) -> list[str]:
    """What a page has search.py do that its parser does not accept."""
    unknown = []
    for line in code_in(text):
        said = re.search(r"python search\.py(?: +(.*))?$", line.strip())
        if said is None:
            continue
        words = shlex.split(said[1] or "")
        command = words[0] if words and not words[0].startswith("-") else "run"
        known = options().get(command, frozenset()) | (options()[""] if command == "run" else frozenset())
        if command not in options() or not set(OPTION.findall(" ".join(words))) <= known:
            unknown.append(line)
    return unknown


def unknown_options(text: str) -> set[str]:
    """The options that a page names and no command has."""
    named = {option for line in code_in(text) for option in OPTION.findall(line)}
    return named - FOREIGN - frozenset().union(*options().values())


@each_of_manual
def test_commands_and_options_exist(page: Path) -> None:
    assert unknown_commands(text_of(page)) == []
    assert unknown_options(text_of(page)) == set()


def test_an_unknown_command_or_option_is_found() -> None:
    text = (
        "`python search.py serve`\n```\n$ python search.py --budget 8k \\\n    --trails 3  # --no\n```\nand `--colour`"
    )
    assert unknown_commands(text) == ["$ python search.py --budget 8k --trails 3", "python search.py serve"]
    assert unknown_options(text) == {"--trails", "--colour"}


# --- Python ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("threads_as_before")
def test_the_python_of_the_page_runs_and_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = DOCS / "python.md"
    text = text_of(page)
    names: dict[str, object] = {"__name__": "page"}
    n_blocks, n_outputs, printed = 0, 0, ""
    for block in FENCE.finditer(text):
        if block[1] == "python":
            # The lines before, so that a traceback names the line of the page.
            before = "\n" * text.count("\n", 0, block.start(2))
            exec(compile(before + block[2], str(page), "exec"), names)
            n_blocks, printed = n_blocks + 1, capsys.readouterr().out
        # What is trained later depends on the processor.
        elif not block[1] and block.start() < text.index("## Train one network"):
            assert block[2] in printed
            n_outputs += 1
    assert n_blocks >= 5
    assert n_outputs == 3


def test_the_tree_names_every_module_and_no_other() -> None:
    text = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    tree = text.partition("## Tree")[2].partition("```")[2].partition("```")[0]
    modules = {path.stem for folder in ("models", "search") for path in ROOT.glob(f"{folder}/**/*.py")}
    named = set(re.findall(r"[a-z0-9_]+(?=\.py)|(?<![\w/.*])[a-z0-9_]+(?![\w/.])", tree))
    assert modules - {"__init__"} <= named
    lines = [line.split()[1:] for line in tree.splitlines() if re.match(r" +[a-z0-9_]+/ +\w", line)]
    assert {word for words in lines for word in words if word.isidentifier()} <= modules


# --- tables of the program ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("limits.md", [limit.flag for limit in LIMITS]),
        ("method.md", [*SAMPLERS, *PRUNERS]),
        ("export.md", FORMATS),
        ("getting-started.md", [kind.mark for kind in BLOCKS.values() if kind.mark]),
    ],
)
def test_a_page_names_every_row_of_a_table(page: str, words: Sequence[str]) -> None:
    spans = {word for span in CODE_SPAN.findall(FENCE.sub("", text_of(DOCS / page))) for word in span.split()}
    assert set(words) - spans == set()


def test_blocks_of_the_page_on_the_space_are_valid() -> None:
    """Every kind of block but the default one is shown as a user writes it."""
    shown = re.findall(r"`(\{ kind = [^`]+\})`", text_of(DOCS / "space.md"))
    blocks = [Block.from_dict(tomllib.loads(f"block = {code}")["block"]) for code in shown]
    assert {block.kind for block in blocks} == set(BLOCK_KINDS) - {"conv"}
