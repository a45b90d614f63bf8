"""Run one trial: suggest a candidate, compute its cost, refuse or train it, and return its value."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import optuna
from optuna.trial import TrialState

from models.cost import Cost, compute_cost
from models.spec import ArchSpec
from search.config import DataForm, SearchConfig
from search.data.load import form_of
from search.engine.confusion import confusion_of
from search.engine.latency import measure_latency
from search.engine.metrics import EpochMetrics
from search.engine.process import prepare_process
from search.limits import latency_excess, latency_words, refusal
from search.search_space.augmentations import as_searched
from search.storage.optuna_internals import fixed_params
from search.study.attributes import (
    BASELINE,
    CANDIDATE,
    SEED,
    USER_NETWORK,
    record_candidate,
    record_finished,
    record_latency,
    record_refused,
    record_repeated,
    record_size,
    record_stopped,
)
from search.study.pruner import KINDS
from search.study.training import RecordedTraining, Training
from search.study.trials import OUTSIDE_SPACE
from space import Candidate, assemble, space_of, suggest


class Objective:
    """Objective of a search that trains the candidate of a trial.

    It is picklable, so that every worker process can have its own.

    weights_dir  folder for the weights of finished trials; None does not keep them
    engine       as in search.engine.train.engine_for
    """

    def __init__(self, config: SearchConfig, weights_dir: Path | None = None, engine: str = "auto") -> None:
        self.config = config
        self.engine = engine
        self.training = RecordedTraining(weights_dir)
        self._space = space_of(config)

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the value of a trial's candidate, its accuracy in [0, 1] or the metric of the search.

        Raises TrialPruned if the trial was queued with values outside the space, or if the candidate is over a limit or
        stopped by the pruner, now or in an earlier trial. Raises TrialFailedError if its training diverged.
        """
        self._refuse_outside_space(trial)
        candidate = self._user_network(trial) or self._suggest(trial)
        candidate = replace(candidate, recipe=as_searched(candidate.recipe, self.config))
        cost = compute_cost(candidate.arch)
        self._refuse_over_limit(trial, cost)
        earlier = self._find_earlier(trial, candidate)
        if earlier is not None:
            return _take_over(trial, earlier)
        self._refuse_over_latency(trial, candidate)
        record_candidate(trial, candidate, cost)
        return self._train(trial, candidate)

    @cached_property
    def _form(self) -> DataForm:
        return form_of(self.config.data)

    def _suggest(self, trial: optuna.Trial) -> Candidate:
        return suggest(trial, self._form.input_shape, self._form.n_classes, self._space)

    def _user_network(self, trial: optuna.Trial) -> Candidate | None:
        """Return the candidate of a queued user network, with the recipe of the hand-designed networks, or None."""
        network = trial.user_attrs.get(USER_NETWORK)
        if network is None:
            return None
        return Candidate(ArchSpec.from_dict(network), assemble(self._space.defaults).recipe)

    def _refuse_outside_space(self, trial: optuna.Trial) -> None:
        """Refuse a trial that was queued, for example with Optuna's enqueue_trial, with values outside the space."""
        objection = self._space.objection_to(fixed_params(trial) or {})
        if objection:
            reason = f"{OUTSIDE_SPACE}: {objection}"
            record_refused(trial, reason)
            raise optuna.TrialPruned(reason)

    def _refuse_over_limit(self, trial: optuna.Trial, cost: Cost) -> None:
        constraints, reason = refusal(cost, self.config)
        for name, value in constraints.items():
            trial.set_constraint(name, value)
        record_size(trial, cost)
        if reason:
            record_refused(trial, reason)
            raise optuna.TrialPruned(reason)

    def _refuse_over_latency(self, trial: optuna.Trial, candidate: Candidate) -> None:
        latency = measure_latency(candidate.arch)
        record_latency(trial, latency)
        excess = latency_excess(latency, self.config)
        if excess is None:
            return
        trial.set_constraint("latency", excess)
        if excess > 0:
            reason = latency_words(latency, self.config)
            record_refused(trial, reason)
            raise optuna.TrialPruned(reason)

    def _find_earlier(self, trial: optuna.Trial, candidate: Candidate) -> optuna.trial.FrozenTrial | None:
        """Return the earlier trial of this study that finished or stopped the same candidate, or None."""
        key = candidate.key()
        finished = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return next((other for other in finished if other.user_attrs.get(CANDIDATE) == key), None)

    def _train(self, trial: optuna.Trial, candidate: Candidate) -> float:
        """Train a candidate, write its weights, record its result and return its value."""
        seconds = 0.0

        def on_epoch(epoch: int, metrics: EpochMetrics) -> None:
            nonlocal seconds
            seconds += metrics.seconds
            value = metrics.value(self.config.metric)
            trial.report(value, epoch)
            # Hand-designed networks serve for comparison, so they are always trained to the end.
            if epoch < self.config.epochs and BASELINE not in trial.user_attrs and trial.should_prune():
                metric = "" if self.config.metric == "accuracy" else f" {self.config.metric_name}"
                reason = KINDS[self.config.pruner].reason(self.config.epochs, epoch)
                reason = f"{value:.2%}{metric} after epoch {epoch} {reason}"
                record_stopped(trial, reason, seconds)
                raise optuna.TrialPruned(reason)

        prepare_process()
        data = self.training.data(self.config.data)
        seed = trial.user_attrs.get(SEED, self.config.seed)
        rules = (self.config.score, self.config.metric, self.engine)
        training = Training(candidate.arch, candidate.recipe, seed, *rules)
        result = self.training.train(trial, training, data, on_epoch)
        self.training.keep_weights(trial.number, training.state(result))
        confusion = confusion_of(training.answers(result), data.scored.labels, data.n_classes)
        record_finished(trial, result.seconds, confusion=confusion)
        return training.value(result)


def _take_over(trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> float:
    """Return the value of an earlier trial with the same candidate. Raises TrialPruned if that trial was stopped."""
    reason = f"same network and recipe as trial {earlier.number}"
    record_repeated(trial, reason, earlier.number)
    # Optuna gives a pruned trial the value that it reported last, so the state is checked first.
    if earlier.state == TrialState.PRUNED or earlier.value is None:
        raise optuna.TrialPruned(f"{reason}, which was stopped")
    return earlier.value
