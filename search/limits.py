"""Table of the limits of a search, which are computed from a network's specification before it is built.

A limit is a row of LIMITS and a field of SearchConfig with the same name. Its option, the refusals, the slack in
reports and its wording are derived from the row. A network that meets a limit exactly is feasible.

The latency is not in the table, because it is measured on the network that was built (search.engine.latency).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from search.config import NUMBER_BYTES, SearchConfig, optional_limits

if TYPE_CHECKING:
    # models.cost imports torch, which would delay --help and the refusal of a wrong option.
    from models.cost import Cost


# How the budget counts in a search with --share-weights.
SHARING_RULE = "layers may share them, and the budget counts shared ones once"
MAX_LENGTH = 30
# The latency of a network is that of the fastest of this many passes over one image.
N_LATENCY_PASSES = 30


@dataclass(frozen=True)
class Unit:
    """Unit of an amount on the command line.

    suffixes  factors by their suffixes, in lower case
    example   amounts to show in an error message
    metavar   name of the amount in the help
    """

    suffixes: Mapping[str, int]
    example: str
    metavar: str


COUNT = Unit({"": 1, "k": 10**3, "m": 10**6, "g": 10**9}, "8000, 8k or 1.5M", "N")
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30}
_DECIMAL = {"kb": 10**3, "mb": 10**6, "gb": 10**9}
BYTES = Unit({**COUNT.suffixes, "b": 1, **_DECIMAL, **_BINARY}, "65536, 64k or 64KiB", "BYTES")


def whole_amount(text: str, unit: Unit) -> int:
    """Parse a whole number of at least 1 with an optional suffix of the unit, in any case. Raises ValueError."""
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?) ?([A-Za-z]*)", text.strip())
    factor = unit.suffixes.get(match[2].lower(), 0) if match and len(text) <= MAX_LENGTH else 0
    value = Fraction(match[1].replace("_", "")) * factor if match and factor else Fraction(0)
    if value < 1 or value.denominator != 1:
        raise ValueError(f"must be a whole number of at least 1, got {text!r:.80}; write it as {unit.example}")
    return int(value)


@dataclass(frozen=True)
class Limit:
    """Row of the table of limits.

    name      field of SearchConfig; its value None means no limit
    flag      option on the command line
    unit      unit of the option's value
    fact      name of the limited quantity in the report
    noun      name of the limited quantity after a number
    over      short description of a network beyond the limit
    help      help text of the option
    read      function that reads the quantity from a Cost; a limit in bytes depends on SearchConfig.bytes_in
    is_floor  whether the limit bounds from below
    """

    name: str
    flag: str
    unit: Unit
    fact: str
    noun: str
    over: str
    help: str
    read: Callable[[Cost, str], int]
    is_floor: bool = False

    @property
    def bound_name(self) -> str:
        """Return the word for the bound: budget, floor or limit."""
        return "budget" if self.flag == "--budget" else "floor" if self.is_floor else "limit"

    def counted(self, bytes_in: str) -> str:
        """Return the name of the limited quantity; for bytes it includes the type of number."""
        return f"{self.noun} in {bytes_in}" if self.unit is BYTES else self.noun


def _memory(cost: Cost, bytes_in: str) -> int:
    return cost.peak_activation_bytes_int8 if bytes_in == "int8" else cost.peak_activation_bytes


# fmt: off
LIMITS = (
    Limit("max_params", "--budget", COUNT, "parameters", "parameters", "over budget",
          "largest number of parameters: 8000, 8k", lambda cost, _: cost.n_params),
    Limit("max_macs", "--max-macs", COUNT, "MACs", "multiply-adds", "over the limit of MACs",
          "largest number of multiply-adds: 800k, 1.5M", lambda cost, _: cost.macs),
    Limit("max_memory", "--max-memory", BYTES, "activations", "bytes of activations", "over the memory limit",
          "largest peak of activations: 64KiB; see --bytes-in", _memory),
    Limit("max_weights_bytes", "--max-weights-bytes", BYTES, "weights", "bytes of weights", "over the weights limit",
          "largest size of the weights, as exported files hold them: 32KiB; see --bytes-in",
          lambda cost, bytes_in: cost.n_params * NUMBER_BYTES[bytes_in]),
    Limit("min_rf", "--min-rf", COUNT, "RF before the head", "pixels of receptive field before the head",
          "receptive field too small", "smallest receptive field of the last map before the head, in pixels",
          lambda cost, _: cost.feature_receptive_field, is_floor=True),
)
# fmt: on
if {limit.name for limit in LIMITS} != {"max_params", *optional_limits()}:
    raise TypeError("every row of LIMITS needs a field of SearchConfig of its name, and every such field a row")


@dataclass(frozen=True)
class Standing:
    """Value of a network compared with one limit of a search; `value` and `bound` are in the unit of the limit."""

    limit: Limit
    value: int
    bound: int
    bytes_in: str

    @property
    def slack(self) -> int:
        """Return the distance to the limit in its unit; it is negative beyond the limit."""
        return self.value - self.bound if self.limit.is_floor else self.bound - self.value

    @property
    def excess(self) -> float:
        """Return the excess as a share of the limit, so that all limits weigh the same; within it is 0 or less."""
        above = self.value / self.bound - 1
        return -above if self.limit.is_floor else above

    @property
    def reason(self) -> str:
        """Return value and distance in words: "9,000 parameters, 1,000 over the budget of 8,000"."""
        return f"{self.value:,} {self.limit.counted(self.bytes_in)}, {self.distance}"

    @property
    def distance(self) -> str:
        """Return the slack in words: "435 below the budget of 8,000"."""
        within, beyond = ("above", "below") if self.limit.is_floor else ("below", "over")
        side = within if self.slack >= 0 else beyond
        return f"{abs(self.slack):,} {side} the {self.limit.bound_name} of {self.bound:,}"


def bounds(config: SearchConfig) -> list[tuple[Limit, int]]:
    """Return the limits of a search with their bounds, in the order of the table."""
    rows = [(limit, getattr(config, limit.name)) for limit in LIMITS]
    return [(limit, bound) for limit, bound in rows if bound is not None]


def standings(cost: Cost, config: SearchConfig) -> list[Standing]:
    """Compare a network with every limit of a search."""
    bytes_in = config.bytes_in
    return [Standing(limit, limit.read(cost, bytes_in), bound, bytes_in) for limit, bound in bounds(config)]


def limits_met(cost: Cost, config: SearchConfig, latency_ms: float | None = None) -> dict[str, dict[str, Any]]:
    """Return bound, value and slack of every limit of a search, by its name, for card.json.

    latency_ms: latency that was measured in the search, if it has a limit of latency.
    """
    entries: dict[str, dict[str, Any]] = {}
    for standing in standings(cost, config):
        limit = standing.limit
        entries[limit.name] = {
            "bound": standing.bound,
            "value": standing.value,
            "slack": standing.slack,
            "of": limit.counted(config.bytes_in),
        }
    if config.max_latency is not None and latency_ms is not None:
        slack = config.max_latency - latency_ms
        bound = {"bound": config.max_latency, "value": latency_ms, "slack": slack}
        entries["max_latency"] = bound | {"of": "milliseconds for one image on one thread of the machine of the search"}
    return entries


def worst_excess(cost: Cost, config: SearchConfig) -> float:
    """Return the largest excess over a limit, as a share of that limit; a network fits if it is 0 or less."""
    return max(standing.excess for standing in standings(cost, config))


def describe_limits(config: SearchConfig) -> str:
    """Return the limits of a search in words: "the budget of 8,000 parameters, 200,000 multiply-adds"."""
    return f"the budget of {listed_limits(config)}"


def listed_limits(config: SearchConfig) -> str:
    """Return a list of the limits, the budget first: "8,000 parameters, 200,000 multiply-adds"."""
    return ", ".join(
        f"{'at least ' * limit.is_floor}{bound:,} {limit.counted(config.bytes_in)}" for limit, bound in bounds(config)
    )


def refusal(cost: Cost, config: SearchConfig) -> tuple[dict[str, float], str]:
    """Return (constraints, reason) of a network: Optuna's constraints, and why it is refused, or "" if it fits.

    A constraint is the excess as a share of its limit; a value above 0 is infeasible.
    """
    rows = standings(cost, config)
    constraints = {standing.limit.noun: standing.excess for standing in rows}
    return constraints, "; ".join(standing.reason for standing in rows if standing.slack < 0)


def latency_excess(milliseconds: float, config: SearchConfig) -> float | None:
    """Return the excess of a latency as a share of its limit, 0 or less within it; None if there is no limit."""
    return None if config.max_latency is None else milliseconds / config.max_latency - 1


def latency_words(milliseconds: float, config: SearchConfig) -> str:
    """Return a latency in words, with its distance to the limit, if there is one, and how it was measured."""
    words = f"{milliseconds:.3g} ms of latency"
    if config.max_latency is not None:
        side = "over" if milliseconds > config.max_latency else "below"
        words += f", {abs(milliseconds - config.max_latency):.2g} {side} the limit of {config.max_latency:g}"
    return f"{words} (one image, one thread, fastest of {N_LATENCY_PASSES} passes on the machine of the search)"
