"""The order in which modules may import one another, and which may use a library: read from the source."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 300
LAUNCHER = "search.py"

FILES = {
    path.name if path.name == LAUNCHER else ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted([*ROOT.glob("*.py"), *ROOT.glob("models/*.py"), *ROOT.glob("search/*.py")])
    if path.name != "__init__.py"
}


@dataclass(frozen=True)
class Import:
    """One imported module. where: "module" (when the file is imported), "function" (later) or "types" (never)."""

    module: str
    where: str


def imports_in(tree: ast.AST, where: str = "module") -> Iterator[Import]:
    """All imports below `tree`; `from package import module` is one of package.module."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                yield from (Import(alias.name, where) for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, "relative import"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield Import(full if full in FILES else str(node.module), where)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from imports_in(node, "types")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from imports_in(node, "function")
            case _:
                yield from imports_in(node, where)


IMPORTS = {
    name: set(imports_in(ast.parse(path.read_text(encoding="utf-8"), str(path)))) for name, path in FILES.items()
}


def used(name: str) -> set[str]:
    """What a module imports, at once or later."""
    return {one.module for one in IMPORTS[name] if one.where != "types"}


def own(name: str) -> set[str]:
    """The modules of this project that a module imports, at once or later."""
    return used(name) & FILES.keys()


def below(name: str) -> set[str]:
    """A module, and all of this project that it leads to."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        found |= waiting
        waiting = set().union(*map(own, waiting)) - found
    return found


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import torch
from search import provenance
from models.spec import ArchSpec, Block
if TYPE_CHECKING:
    from optuna import Trial
class A:
    import json
    def method(self):
        with open("x"):
            import sklearn.datasets
try:
    import onnx
except ImportError:
    pass
"""
    assert set(imports_in(ast.parse(source))) == {
        Import("torch", "module"),
        Import("search.provenance", "module"),
        Import("models.spec", "module"),
        Import("optuna", "types"),
        Import("json", "module"),
        Import("sklearn.datasets", "function"),
        Import("onnx", "module"),
    }
    assert {"search.py", "objective", "space", "models.spec", "search.cli", "search.train"} <= FILES.keys()


# --- one way --------------------------------------------------------------------------------------------------------

# What these modules may import of this project.
ALLOWED = {
    "models.record": set(),
    "models.spec": {"models.record"},
    "models.blocks": {"models.spec"},
    "models.heads": {"models.spec", "models.blocks"},
    "models.cost": {"models.spec", "models.blocks", "models.heads"},
    "models.build": {"models.spec", "models.blocks", "models.heads", "models.cost"},
    "models.baseline_networks": {"models.spec"},
    "models.baseline_recipes": {"search.config"},
    "models.baselines": {"models.spec", "models.baseline_networks", "models.baseline_recipes", "search.config"},
    "search.recipe": {"models.record"},
    "search.config": {"models.record", "search.recipe"},
    "search.amounts": set(),
    # Said by the command line too, so without what counts a network.
    "search.limits": {"search.amounts", "search.config"},
    "search.argument_values": {"search.amounts", "search.config"},
    "search.arguments": {"search.amounts", "search.argument_values", "search.config", "search.limits"},
    "search.dimensions": set(),
    "search.faults": set(),
    "search.text_files": set(),
    # What a storage is, is known before any is opened.
    "search.storage_url": {"search.config"},
    "search.sqlite_file": {"search.config"},
    "search.place": {"search.config", "search.storage_url"},
    "search.provenance": {"search.config", "search.place", "search.storage_url"},
    "search.augment": {"search.config"},
    "search.idx": {"search.config"},
    "search.writers": {"search.config"},
    # What a data set is, then who reads it: nobody but search.data knows all of them.
    "search.split": set(),
    "search.class_names": set(),
    "search.definitions": {"search.config", "search.idx", "search.split", "search.writers"},
    "search.torchvision_data": {
        "search.class_names",
        "search.config",
        "search.definitions",
        "search.idx",
        "search.split",
        "search.writers",
    },
    "search.folder_files": {"search.config"},
    # A folder's images are read as an exported network reads its pictures.
    "search.folder_data": {"search.config", "search.folder_files", "search.model_runtime", "search.split"},
    "search.data": {
        "search.config",
        "search.definitions",
        "search.folder_data",
        "search.idx",
        "search.split",
        "search.torchvision_data",
    },
    "search.data_place": {"search.config", "search.data"},
    "search.scores": {"models.record", "search.config"},
    "search.compiler": set(),
    "search.kernels": {"search.compiler"},
    "search.native_ops": {"search.kernels"},
    "search.blocked": {"models.blocks", "search.kernels", "search.native_ops"},
    "search.uncompiled": set(),
    "search.graphed": {"search.uncompiled"},
    "search.soap": {"search.uncompiled"},
    "search.optimise": {"search.config", "search.graphed", "search.soap", "search.uncompiled"},
    "search.train": {
        "models.record",
        "search.config",
        "search.augment",
        "search.data",
        "search.kernels",
        "search.blocked",
        "search.graphed",
        "search.optimise",
        "search.scores",
    },
    "search.trials": {"models.record", "models.spec", "search.config"},
    # Whatever is searched, the study only sees an objective.
    "search.study": {"search.config", "search.trials"},
    "search.listening": {"search.config"},
    "search.proxy": {"search.config", "search.listening"},
    "search.storage": {
        "search.config",
        "search.faults",
        "search.proxy",
        "search.sqlite_file",
        "search.storage_url",
    },
    "search.lost": {"search.storage", "search.study", "search.trials"},
    "search.results_version": {"search.config", "search.provenance"},
    # Said before anything heavy is imported.
    "search.interrupts": set(),
    "search.samplers": {"search.dimensions", "search.study", "search.trials"},
    "search.recorded": {
        "models.spec",
        "models.build",
        "search.config",
        "search.data",
        "search.scores",
        "search.train",
        "search.trials",
    },
    # The evidence is gathered and judged without a word of its report.
    "search.statistics": {"models.record"},
    "search.shrink": {"search.trials"},
    "search.repeats": {
        "models.record",
        "models.spec",
        "models.cost",
        "search.config",
        "search.recorded",
        "search.trials",
    },
    "search.confirm": {
        "models.record",
        "search.config",
        "search.repeats",
        "search.scores",
        "search.shrink",
        "search.statistics",
        "search.study",
        "search.trials",
    },
    "search.reproduction": {
        "models.baselines",
        "models.cost",
        "models.record",
        "search.config",
        "search.repeats",
        "search.statistics",
    },
    # From a network to its C file: what runs there knows nothing of what made it.
    "search.int8_network": set(),
    "search.int8_reference": {"search.int8_network"},
    "search.fixed_point": {"search.int8_network"},
    "search.int8_filters": {"search.int8_network"},
    "search.folding": {"models.blocks", "models.heads", "search.fixed_point", "search.int8_network"},
    "search.quantise": {
        "models.blocks",
        "models.build",
        "models.cost",
        "models.spec",
        "search.fixed_point",
        "search.folding",
        "search.int8_filters",
        "search.int8_network",
        "search.int8_reference",
    },
    "search.arena": {"search.int8_network"},
    "search.c_layers": set(),
    "search.c_calls": {"search.arena", "search.int8_network"},
    "search.c_source": {"search.arena", "search.c_calls", "search.c_layers", "search.int8_network"},
    "search.c_file": {"search.compiler", "search.config", "search.int8_network", "search.int8_reference"},
    "search.shelf": set(),
    "search.dashboard_markdown": set(),
    "search.dashboard_figures": {
        "search.config",
        "search.describe",
        "search.study_figures",
        "search.summary",
        "search.svg",
        "search.trials",
    },
    "search.svg": set(),
    "search.mistakes": {
        "models.record",
        "models.spec",
        "models.build",
        "search.data",
        "search.train",
    },
    # Part of every exported file: it knows nothing of this project.
    "search.model_runtime": set(),
    "search.framing": set(),
    "search.onnx_format": set(),
    "search.export_folder": {"search.config"},
    "search.card_file": {"models.record", "search.config", "search.export_folder", "search.mistakes"},
    "search.format_latency": {"search.config", "search.latency", "search.place", "search.provenance"},
    "search.formats": {
        "search.c_format",
        "search.config",
        "search.data",
        "search.format_latency",
        "search.onnx_format",
        "search.provenance",
        "search.trained_model",
    },
    "search.misread_page": {"search.mistakes"},
    "search.network_figures": {"models.blocks", "models.cost", "models.spec", "search.mistakes", "search.svg"},
    "search.study_figures": {"search.config", "search.summary", "search.svg", "search.trials"},
    "search.frontier_plot": {"search.summary", "search.svg"},
    "search.reproduction_plot": {"search.reproduction", "search.svg"},
    "search.points": {"models.record", "models.spec", "search.config", "search.dimensions"},
    "space": {
        "models.record",
        "models.spec",
        "models.baselines",
        "search.config",
        "search.dimensions",
        "search.points",
    },
    "search.starting_points": {"search.dimensions", "space"},
    "search.space_file": {
        "models.record",
        "search.config",
        "search.dimensions",
        "search.points",
        "search.text_files",
        "space",
    },
    "search.spec_files": {
        "models.baselines",
        "models.record",
        "models.spec",
        "search.config",
        "search.text_files",
    },
    LAUNCHER: {"search.cli"},
}


@pytest.mark.parametrize("name", ALLOWED)
def test_imports_run_one_way(name: str) -> None:
    assert own(name) <= ALLOWED[name]


def test_every_module_of_models_has_its_place_in_that_order() -> None:
    assert {name for name in FILES if name.startswith("models.")} <= ALLOWED.keys()


def test_no_module_leads_back_to_itself() -> None:
    TopologicalSorter({name: own(name) for name in FILES}).prepare()


def test_only_the_command_line_puts_off_imports_of_this_project() -> None:
    later = {name for name in FILES for one in IMPORTS[name] if one.where == "function" and one.module in FILES}
    assert later <= {"search.cli"}


# --- who may use which library --------------------------------------------------------------------------------------

USERS = {
    "optuna": {
        "objective",
        "search.study",
        "search.storage",
        "search.lost",
        "search.results_version",
        "search.samplers",
        "search.workers",
        "search.progress",
        "search.recorded",
        "search.repeats",
        "search.retrain",
        "search.warm",
        "search.importance",
        "search.run",
        "search.commands",
        "search.given",
        "search.shelf",
        "search.note_writer",
        "search.furnish",
        "search.dashboard",
        "search.data_place",
        "search.proxy",
        "search.proxy_server",
        "search.shared_reads",
    },
    "grpc": {"search.proxy", "search.proxy_server"},
    "optuna_dashboard": {"search.note_writer", "search.furnish", "search.dashboard"},
    "plotly": {"search.furnish"},
    "torchvision": {"search.idx", "search.torchvision_data"},
    "sklearn": {"search.definitions", "search.shrink", "search.split"},
    "scipy": {"search.statistics"},
    "pandas": {"search.report", "search.shrink"},
    "matplotlib": {
        "search.svg",
        "search.frontier_plot",
        "search.reproduction_plot",
        "search.study_figures",
        "search.network_figures",
        "search.report_html",
        "search.misread_page",
    },
    "jinja2": {"search.report_html", "search.model_card"},
    "PIL": {"search.folder_data", "search.mistakes", "search.misread_page", "search.model_runtime"},
    "onnx": {"search.onnx_format"},
    "onnxruntime": {"search.onnx_format"},
    "safetensors": {"search.formats", "search.model_runtime"},
    # The runtime is copied into exported files, which have a command line of their own.
    "argparse": {"search.argument_values", "search.arguments", "search.model_runtime"},
}


@pytest.mark.parametrize("library", USERS)
def test_libraries_stay_in_their_modules(library: str) -> None:
    users = {name for name in FILES if any(module.split(".")[0] == library for module in used(name))}
    assert users <= USERS[library]
    assert users, "the rule is about nothing any more"


@pytest.mark.parametrize("name", ["search.c_source", "search.int8_reference"])
def test_an_integer_network_needs_no_torch(name: str) -> None:
    assert "torch" not in {module.split(".")[0] for part in below(name) for module in used(part)}


@pytest.mark.parametrize("name", ["search.train", "models.build", "models.baselines", "space"])
def test_training_needs_no_optuna(name: str) -> None:
    assert {module.split(".")[0] for part in below(name) for module in used(part)}.isdisjoint({"optuna", "pandas"})


# --- files ----------------------------------------------------------------------------------------------------------


def test_no_file_is_over_300_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_module_is_a_box_of_oddments() -> None:
    assert {path.stem for path in sources()}.isdisjoint({"utils", "util", "helpers", "common", "misc", "tools"})


def sources() -> list[Path]:
    """Every Python file but the tests."""
    return [*FILES.values(), *ROOT.glob("benchmarks/**/*.py")]
