"""No code but the definitions of data sets and hand-designed networks knows MNIST's sides or classes by heart."""

import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KNOWN = {"28", "784", "10"}
# Where a data set or a hand-designed network is defined.
DEFINITIONS = {"search/definitions.py", "search/torchvision_data.py", "models/baseline_networks.py"}
# What else the same numbers mean elsewhere, by a part of the line.
OTHER_MEANINGS = {
    "models/record.py": ["10**6"],
    "models/baselines.py": ["receptive_field_stated=28"],
    "models/baseline_recipes.py": ["step_size=10"],
    # Defaults that are relied on from outside: suggest(trial) is of MNIST.
    "search/points.py": ["input_shape: tuple[int, int, int] = (1, 28, 28), n_classes: int = 10"],
    "space.py": ["input_shape: tuple[int, int, int] = (1, 28, 28),", "n_classes: int = 10,"],
    # Widths of networks to start from.
    "search/starting_points.py": [
        "((7, 12), (28,), ()),",
        "((8, 14), (22, 22, 22), (28, 28, 28)),",
        "((6, 10), (18, 18, 18), (22, 22, 22)),",
        "((16, 28, 18, 18, 18), (26, 34, 20), (24, 40)),",
        "((12, 22, 14, 14, 14), (22, 28, 18), (22, 34)),",
        "((6, 9, 7, 7, 7), (10, 13, 10), (11, 17)),",
    ],
    "search/amounts.py": ["10**3", "2**10"],
    "search/argument_values.py": ["10**9"],
    "search/arguments.py": ['"--runs"'],
    "search/config.py": ["10**15"],
    "search/augment.py": ["ERASE_ATTEMPTS"],
    "search/fixed_point.py": ["SHARES", "np.clip", "2.0**"],
    "search/frontier_plot.py": ["s=10"],
    "search/kernels.py": ["_POINTER"],
    "search/lost.py": ["MAX_RESTARTS", "self._grace / 10"],
    "search/mistakes.py": ["TILES_PER_ROW"],
    "search/model_card.py": ["N_CONFUSIONS"],
    "search/optimise.py": ["(10 + n)"],
    "search/samplers.py": ["N_START"],
    "search/storage.py": ["_CONNECT_SECONDS", "keepalives_interval"],
    "search/proxy.py": ["_OPEN_SECONDS"],
    "search/proxy_server.py": ["_MAX_LOCKS"],
    "search/summary.py": ["N_TOP"],
    "search/svg.py": ["font.size", "set_ylim"],
    "search/workers.py": ["MAX_DEATHS"],
}


def numbers_in(text: str) -> list[str]:
    """The lines with a whole number of KNOWN in their code, comments and texts left out."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.line for token in tokens if token.type == tokenize.NUMBER and token.string in KNOWN]


def sources() -> dict[str, str]:
    paths = [*ROOT.glob("*.py"), *ROOT.glob("models/*.py"), *ROOT.glob("search/*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


@pytest.mark.parametrize("name", sorted(sources().keys() - DEFINITIONS))
def test_nothing_else_knows_the_sides_or_classes_of_mnist(name: str) -> None:
    meanings = OTHER_MEANINGS.get(name, [])
    assert [line for line in numbers_in(sources()[name]) if not any(part in line for part in meanings)] == []


def test_every_exception_is_about_something() -> None:
    texts = sources()
    for name, parts in OTHER_MEANINGS.items():
        lines = numbers_in(texts[name])
        assert all(any(part in line for line in lines) for part in parts), name


def test_a_number_in_the_code_is_found_and_one_in_words_is_not() -> None:
    text = 'x = 28  # of 28\n"""28 x 28"""\ny = 10.0 + 100\nz = (784,)\n'
    assert numbers_in(text) == ["x = 28  # of 28\n", "z = (784,)\n"]
