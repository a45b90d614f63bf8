"""End a search whose space has no further candidate, and queue the last candidates that its sampler does not propose.

Most spaces are far larger than a search. If all real numbers of a space are fixed, its candidates can be few, and a
sampler then proposes the same ones again and again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from models.cost import compute_cost
from search.config import SearchConfig
from search.data.load import form_of
from search.limits import describe_limits, worst_excess
from search.search_space.augmentations import as_searched
from search.search_space.combinations import combinations
from search.study.attributes import CANDIDATE, EXHAUSTED, LATENCY
from search.study.loop import MAX_REFUSED_IN_A_ROW, n_refused_in_a_row, n_repeated_in_a_row
from search.study.seeds import derived_seed
from search.study.trials import REFUSED, outcome_of
from search.text import counted
from space import Candidate, Params, assemble, space_of

# Numbers of repeated and of refused proposals since the last training after which the candidates of the space are
# listed, and most combinations of values that are listed. Listing takes a few tenths of a millisecond for each.
N_REPEATED, N_REFUSED = 5, 50
MAX_LISTED = 5000
# In a larger space, number of repeated proposals after which random points are drawn, and number of these points.
N_REPEATED_UNLISTED = 50
N_DRAWS = 2000
# Number of candidates that are queued at once, so that the sampler goes on with their results.
N_QUEUED = 10


class Exhaustion:
    """Callable that queues untried candidates, or ends the search, once several proposals in a row were not trained.

    It is called after every trial, and picklable, so that every worker can have its own.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._space = space_of(config)
        self._form = form_of(config.data)

    def __call__(self, study: optuna.Study) -> None:
        """Queue untried candidates, or record with the study why none is left, if its last proposals were not new."""
        trials = study.get_trials(deepcopy=False)
        n_repeated, n_refused = n_repeated_in_a_row(trials), n_refused_in_a_row(trials)
        if n_repeated < N_REPEATED and n_refused < N_REFUSED:
            return
        if any(trial.state == TrialState.WAITING for trial in trials) or EXHAUSTED in study.user_attrs:
            return
        rng = random.Random(derived_seed(self._config.seed, "exhaustion", len(trials)))
        if self._listed is not None:
            tried = self._tried(trials)
            points = [params for key, params in self._listed.items() if key not in tried]
            untried = rng.sample(points, min(N_QUEUED, len(points)))
        elif n_repeated >= N_REPEATED_UNLISTED:
            untried = self._draw_untried(self._tried(trials), rng)
        elif n_refused >= MAX_REFUSED_IN_A_ROW:
            untried = []
        else:
            return
        for params in untried:
            study.enqueue_trial(params)
        if not untried:
            study.set_user_attr(EXHAUSTED, self._explanation(n_repeated))

    @cached_property
    def _listed(self) -> dict[str, Params] | None:
        """Return a point of each candidate within the limits, by the candidate's key; None if they are too many."""
        points: dict[str, Params] = {}
        listed = combinations(self._space.dimensions, self._assemble)
        for n_listed, combination in enumerate(listed, start=1):
            if n_listed > MAX_LISTED:
                return None
            params = self._space.defaults | combination.chosen
            candidate = self._assemble(params)
            if self._fits(candidate):
                if combination.has_open_range:
                    return None
                points.setdefault(candidate.key(), params)
        return points

    def _draw_untried(self, tried: set[str], rng: random.Random) -> list[Params]:
        """Return a random point within the limits whose candidate is untried, or nothing if none was drawn."""
        for _ in range(N_DRAWS):
            params = self._space.sample(rng)
            candidate = self._assemble(params)
            if candidate.key() not in tried and self._fits(candidate):
                return [params]
        return []

    def _tried(self, trials: Sequence[FrozenTrial]) -> set[str]:
        """Return the keys of the candidates that were trained, are in training, or were refused for their latency."""
        keys = {str(trial.user_attrs[CANDIDATE]) for trial in trials if CANDIDATE in trial.user_attrs}
        too_slow = [trial for trial in trials if outcome_of(trial) == REFUSED and LATENCY in trial.user_attrs]
        return keys | {self._assemble(self._space.completed(trial.params)).key() for trial in too_slow}

    def _assemble(self, params: Mapping[str, Any]) -> Candidate:
        candidate = assemble(params, self._form.input_shape, self._form.n_classes)
        return replace(candidate, recipe=as_searched(candidate.recipe, self._config))

    def _fits(self, candidate: Candidate) -> bool:
        return worst_excess(compute_cost(candidate.arch), self._config) <= 0

    def _explanation(self, n_repeated: int) -> str:
        limits = describe_limits(self._config)
        if self._listed is not None:
            candidates = f"the space has {counted(len(self._listed), 'candidate')} within {limits}"
            return f"The search ended early: {candidates}, and no untried one is left."
        if n_repeated >= N_REPEATED_UNLISTED:
            return (
                f"The search ended early: neither its last proposals nor {N_DRAWS:,} random points of the space had an "
                f"untried candidate within {limits}."
            )
        return (
            f"The search ended early: since its last training {MAX_REFUSED_IN_A_ROW:,} proposals were refused; hardly "
            "any point of the space is within the limits."
        )
