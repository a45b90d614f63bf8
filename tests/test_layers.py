"""The order of the packages: who may import whom, and which libraries they may use. Read from the source."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A package imports any package of an earlier line, and those of its own line that are named behind it.
LAYERS: tuple[dict[str, set[str]], ...] = (
    {"models": set(), "search.errors": set(), "search.text": set()},
    {"search.files": set(), "search.cores": set(), "search.config": set(), "search.limits": {"search.config"}},
    {"search.data": set(), "search.storage": set(), "search.engine": {"search.data"}},
    {"search.search_space": set(), "space": {"search.search_space"}},
    {
        "search.study": set(),
        "search.sampling": {"search.study"},
        "objective": {"search.study"},
        "search.workers": {"search.study", "search.sampling"},
    },
    {
        "search.evidence": set(),
        "search.report": {"search.evidence"},
        "search.export": {"search.report", "search.evidence"},
        "search.dashboard": {"search.report"},
    },
    {"search.cli": set()},
    {"benchmarks": set(), "search.py": set()},
)
# Who may import a library; every other library may be imported anywhere.
USERS = {
    "torch": set().union(*LAYERS[2:]) | {"models"},
    "optuna": set().union({"search.storage"}, *LAYERS[4:]),
    "optuna_dashboard": {"search.dashboard"},
    "torchvision": {"search.data", "search.engine"},
    "matplotlib": {"search.report", "search.export", "benchmarks"},
    "jinja2": {"search.report", "search.export"},
    "argparse": {"search.cli", "search.export", "benchmarks"},
}
MAX_LINES, MAX_MODULES = 300, 16


def package_of(path: Path) -> str:
    """Return the room that a file belongs to: a package, or a module beside the packages."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts == ("search",):
        return "search.py"
    return ".".join(parts[:2]) if parts[0] == "search" else parts[0]


FILES = [
    path
    for pattern in ("*.py", "models/**/*.py", "search/**/*.py", "benchmarks/**/*.py")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "__init__.py"
]
PACKAGES = set().union(*LAYERS)


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a source imports anywhere, except for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, "relative import"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            case _:
                yield from imported(node)


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports."""
    return set(imported(ast.parse(path.read_text(encoding="utf-8"))))


def rooms(modules: set[str]) -> set[str]:
    """Return the packages of this project that modules belong to."""
    parts = [module.split(".") for module in modules]
    return {".".join(names[:2]) if names[0] == "search" else names[0] for names in parts} & PACKAGES


def test_every_file_has_a_layer() -> None:
    assert {package_of(path) for path in FILES} == PACKAGES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_lead_down(path: Path) -> None:
    package = package_of(path)
    number = next(number for number, layer in enumerate(LAYERS) if package in layer)
    allowed = set().union(*LAYERS[:number]) | LAYERS[number][package] | {package}
    modules = imports_of(path)
    assert rooms(modules) <= allowed
    libraries = {module.split(".")[0] for module in modules} & USERS.keys()
    assert {library for library in libraries if package not in USERS[library]} == set()


def test_no_module_leads_back_to_itself() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
    names.pop("search")  # the launcher, which nothing imports
    graph = {
        name: {module for found in imports_of(path) for module in (found, found.rpartition(".")[0]) if module in names}
        for name, path in names.items()
    }
    TopologicalSorter(graph).prepare()


def test_rooms_are_small() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path.name for path, length in lengths.items() if length > MAX_LINES} == set()
    folders = {path.parent for path in FILES}
    assert {folder.name for folder in folders if len(list(folder.glob("[!_]*.py"))) > MAX_MODULES} == set()


def test_packages_say_what_they_are_for_and_nothing_else() -> None:
    for path in ROOT.glob("search/**/__init__.py"):
        (statement,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(statement, ast.Expr), path
    folders = {path.parent for path in FILES if path.parent != ROOT}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()
