"""The limits of a search: THE table of what may be bounded, by arithmetic, before anything is built.

A latency is no such limit: it is measured, on the network as it is built (search.engine.latency).

A limit is a row of LIMITS and a field of SearchConfig with the row's name. Its option, the refusal, the slack in the
reports and the words for it follow from the row. A network that meets a limit exactly is within it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from search.config import NUMBER_BYTES, SearchConfig, optional_limits

if TYPE_CHECKING:
    # Its module imports torch, and the command line is to answer before that.
    from models.cost import Cost


MAX_LENGTH = 30
# A network's latency is the fastest of so many passes over one image.
N_LATENCY_PASSES = 30


@dataclass(frozen=True)
class Unit:
    """Unit of an amount: the suffixes that multiply it, in lower case, an example, its name in a usage line."""

    suffixes: Mapping[str, int]
    example: str
    metavar: str


COUNT = Unit({"": 1, "k": 10**3, "m": 10**6, "g": 10**9}, "8000, 8k or 1.5M", "N")
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30}
_DECIMAL = {"kb": 10**3, "mb": 10**6, "gb": 10**9}
BYTES = Unit({**COUNT.suffixes, "b": 1, **_DECIMAL, **_BINARY}, "65536, 64k or 64KiB", "BYTES")


def whole_amount(text: str, unit: Unit) -> int:
    """The whole number of at least 1 that `text` says; lower and upper case are one. Raises ValueError."""
    found = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?) ?([A-Za-z]*)", text.strip())
    factor = unit.suffixes.get(found[2].lower(), 0) if found and len(text) <= MAX_LENGTH else 0
    value = Fraction(found[1].replace("_", "")) * factor if found and factor else Fraction(0)
    if value < 1 or value.denominator != 1:
        raise ValueError(f"must be a whole number of at least 1, got {text!r:.80}; write it as {unit.example}")
    return int(value)


@dataclass(frozen=True)
class Limit:
    """One row.

    name      field of SearchConfig, where None is no limit
    flag      its option, with `help`; unit: of the option's value
    fact      what is limited, as a row of the report is called; what: the same behind a number
    over      a network beyond the limit, in a few words
    read      off a Cost; of a limit in bytes how many numbers there are, each of SearchConfig.bytes_in
    is_floor  it bounds from below
    """

    name: str
    flag: str
    unit: Unit
    fact: str
    what: str
    over: str
    help: str
    read: Callable[[Cost], int]
    is_floor: bool = False

    @property
    def bound_name(self) -> str:
        """The word for the bound: budget, floor or limit."""
        return "budget" if self.flag == "--budget" else "floor" if self.is_floor else "limit"

    def counted(self, bytes_in: str) -> str:
        """Return what is counted; of bytes, in which kind of number."""
        return f"{self.what} in {bytes_in}" if self.unit is BYTES else self.what


# fmt: off
LIMITS = (
    Limit("max_params", "--budget", COUNT, "parameters", "parameters", "over budget",
          "largest number of parameters: 8000, 8k", lambda cost: cost.n_params),
    Limit("max_macs", "--max-macs", COUNT, "MACs", "multiply-adds", "over the limit of MACs",
          "largest number of multiply-adds: 800k, 1.5M", lambda cost: cost.macs),
    Limit("max_memory", "--max-memory", BYTES, "activations", "bytes of activations", "over the memory limit",
          "largest peak of activations: 64KiB; see --bytes-in", lambda cost: cost.peak_activation_values),
    Limit("max_weights_bytes", "--max-weights-bytes", BYTES, "weights", "bytes of weights", "over the weights limit",
          "largest size of all weights, shared ones once for every layer: 32KiB; see --bytes-in",
          lambda cost: cost.n_stored),
    Limit("min_rf", "--min-rf", COUNT, "RF before the head", "pixels of receptive field before the head",
          "receptive field too small", "smallest receptive field of the last map before the head, in pixels",
          lambda cost: cost.feature_receptive_field, is_floor=True),
)
# fmt: on
if {limit.name for limit in LIMITS} != {"max_params", *optional_limits()}:
    raise TypeError("every row of LIMITS needs a field of SearchConfig of its name, and every such field a row")


@dataclass(frozen=True)
class Standing:
    """A network's value against one limit of a search. value, bound: in the limit's unit."""

    limit: Limit
    value: int
    bound: int
    bytes_in: str

    @property
    def slack(self) -> int:
        """Distance from the limit in its unit; below 0: how far beyond."""
        return self.value - self.bound if self.limit.is_floor else self.bound - self.value

    @property
    def excess(self) -> float:
        """Excess as a share of the limit, so that limits of any size weigh the same. Within: 0 or less."""
        above = self.value / self.bound - 1
        return -above if self.limit.is_floor else above

    @property
    def reason(self) -> str:
        """Why it is refused, or why not: "9,000 parameters, 1,000 over the budget of 8,000"."""
        return f"{self.value:,} {self.limit.counted(self.bytes_in)}, {self.distance}"

    @property
    def distance(self) -> str:
        """The slack in words: "435 below the budget of 8,000"."""
        within, beyond = ("above", "below") if self.limit.is_floor else ("below", "over")
        side = within if self.slack >= 0 else beyond
        return f"{abs(self.slack):,} {side} the {self.limit.bound_name} of {self.bound:,}"


def bounds(config: SearchConfig) -> list[tuple[Limit, int]]:
    """The limits that a search has, in the order of the table."""
    found = [(limit, getattr(config, limit.name)) for limit in LIMITS]
    return [(limit, bound) for limit, bound in found if bound is not None]


def standings(cost: Cost, config: SearchConfig) -> list[Standing]:
    """Compare a network with every limit of a search."""
    size = NUMBER_BYTES[config.bytes_in]
    return [
        Standing(limit, limit.read(cost) * (size if limit.unit is BYTES else 1), bound, config.bytes_in)
        for limit, bound in bounds(config)
    ]


def limits_met(cost: Cost, config: SearchConfig, latency_ms: float | None = None) -> dict[str, dict[str, Any]]:
    """For programs: every limit of a search by its name, with the network's value and the slack.

    latency_ms: as measured in the search, where it was.
    """
    found: dict[str, dict[str, Any]] = {}
    for standing in standings(cost, config):
        limit = standing.limit
        found[limit.name] = {
            "bound": standing.bound,
            "value": standing.value,
            "slack": standing.slack,
            "of": limit.counted(config.bytes_in),
        }
    if config.max_latency is not None and latency_ms is not None:
        slack = config.max_latency - latency_ms
        bound = {"bound": config.max_latency, "value": latency_ms, "slack": slack}
        found["max_latency"] = bound | {"of": "milliseconds for one image on one thread of the machine of the search"}
    return found


def worst_excess(cost: Cost, config: SearchConfig) -> float:
    """Return the excess over the limit that a network meets worst, as a share of the limit; 0 or less: it fits."""
    return max(standing.excess for standing in standings(cost, config))


def describe_limits(config: SearchConfig) -> str:
    """The limits of a search in words: "the budget of 8,000 parameters, 200,000 multiply-adds"."""
    return f"the budget of {listed_limits(config)}"


def listed_limits(config: SearchConfig) -> str:
    """List the limits, the budget first: "8,000 parameters, 200,000 multiply-adds"."""
    return ", ".join(
        f"{'at least ' * limit.is_floor}{bound:,} {limit.counted(config.bytes_in)}" for limit, bound in bounds(config)
    )


def refusal(cost: Cost, config: SearchConfig) -> tuple[dict[str, float], str]:
    """(constraints, reason): Optuna's constraints (above 0: infeasible), and why the network is refused ("": it fits).

    Constraints are excesses as shares of their limits.
    """
    found = standings(cost, config)
    constraints = {standing.limit.what: standing.excess for standing in found}
    return constraints, "; ".join(standing.reason for standing in found if standing.slack < 0)


def latency_excess(milliseconds: float, config: SearchConfig) -> float | None:
    """Return the excess of a latency as a share of the limit, at most 0 within it; None without such a limit."""
    return None if config.max_latency is None else milliseconds / config.max_latency - 1


def latency_words(milliseconds: float, config: SearchConfig) -> str:
    """A latency with its distance to the limit, if there is one, and how it was measured."""
    found = f"{milliseconds:.3g} ms of latency"
    if config.max_latency is not None:
        side = "over" if milliseconds > config.max_latency else "below"
        found += f", {abs(milliseconds - config.max_latency):.2g} {side} the limit of {config.max_latency:g}"
    return f"{found} (one image, one thread, fastest of {N_LATENCY_PASSES} passes on the machine of the search)"
