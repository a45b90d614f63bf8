"""Derive the seed of every proposal and training from the seed of the study and the index of the proposal.

A study can be repeated: with one worker, the same seed gives the same proposals and values, even if the study was
interrupted and resumed. Every proposal therefore has an index, its position in the sequence that an uninterrupted study
would have made. All its randomness (sampler and training) comes from the study's seed and this index.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from search.study.attributes import INDEX, ORIGIN, RETRY_OF


class ProposalIndices:
    """Indices of the proposals in the sequence that an uninterrupted study would have made.

    A trial that is run again keeps the index of its first run. Any other index is a count of trials that leaves out
    such reruns and trials of other studies. Trials are only ever added to a study, so earlier counts stay valid.
    """

    def __init__(self) -> None:
        self._n_seen = 0
        self._not_counted: list[int] = []

    def index(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
        """Return the index of `trial`; `trials` are all trials of its study."""
        recorded = trial.user_attrs.get(INDEX)
        if recorded is not None:
            return int(recorded)
        added = trials[self._n_seen :]
        self._not_counted += [
            other.number for other in added if RETRY_OF in other.user_attrs or ORIGIN in other.user_attrs
        ]
        self._n_seen = len(trials)
        return trial.number - bisect_left(self._not_counted, trial.number)


def derived_seed(seed: int, *parts: object) -> int:
    """Return a 32-bit seed that depends on `seed` and every part, and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr((seed, *parts)).encode()).digest()[:4], "big")
