"""Derive the seed of every proposal and training from the seed of the study and the index of the proposal.

A study repeats itself: with one worker, the same seed gives the same proposals and values, also when it was interrupted
and resumed. For that every proposal has an index, its place in the sequence that an uninterrupted study would have
made, and all its randomness (sampler and training) comes from the study's seed and that index.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from search.study.attributes import INDEX, ORIGIN, RETRY_OF


class ProposalIndices:
    """The place of every proposal in the sequence that an uninterrupted study would have made: its index.

    A trial that is run again keeps the index of the first try; the others are counted without such repeats, and without
    trials of other studies. Trials are only ever added to a study, so what was counted once stays counted.
    """

    def __init__(self) -> None:
        self._n_seen = 0
        self._left_out: list[int] = []

    def index(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
        """The index of `trial`; `trials` are all of its study."""
        kept = trial.user_attrs.get(INDEX)
        if kept is not None:
            return int(kept)
        added = trials[self._n_seen :]
        self._left_out += [new.number for new in added if RETRY_OF in new.user_attrs or ORIGIN in new.user_attrs]
        self._n_seen = len(trials)
        return trial.number - bisect_left(self._left_out, trial.number)


def derived_seed(seed: int, *parts: object) -> int:
    """A 32-bit seed that depends on `seed` and every part, and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr((seed, *parts)).encode()).digest()[:4], "big")
