"""Samplers that propose the next point from the trials of a study and their ranges, and know nothing of networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from search.config import SAMPLERS
from search.sampling.evolve import EvolveSampler
from search.sampling.proposals import SeededSampler, Start, StartSampler


def _tpe(seed: int) -> TPESampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


@dataclass(frozen=True)
class SamplerKind:
    """Row of the table of samplers.

    A sampler is made anew for every proposal, so all that it remembers must be in the trials of the study.

    make             function that makes a sampler from a seed and what is known of the limits
    starts_feasible  True if the sampler begins with proposals that fit the limits
    drawn_share      as in StartSampler
    """

    make: Callable[[int, Start | None], BaseSampler]
    starts_feasible: bool = True
    drawn_share: float = 0.0


# The random sampler is the control: it always draws from the whole space, and draws that do not fit are refused.
KINDS = {
    "tpe": SamplerKind(lambda seed, _start: _tpe(seed)),
    "random": SamplerKind(lambda seed, _start: RandomSampler(seed=seed), starts_feasible=False),
    "evolve": SamplerKind(EvolveSampler, drawn_share=0.1),
}
if KINDS.keys() != SAMPLERS.keys():
    raise TypeError("every sampler needs a row in KINDS and its name and help in search.config.SAMPLERS")


def make_sampler(name: str, seed: int, start: Start | None = None) -> BaseSampler:
    """Return the sampler of that name, which begins with points of `start` if that is given."""
    kind = KINDS[name]
    if start is None or not kind.starts_feasible:
        return SeededSampler(seed, lambda seed: kind.make(seed, None))
    return SeededSampler(seed, lambda seed: StartSampler(seed, kind.make(seed, start), start, kind.drawn_share))
