"""One trial, top to bottom: suggest, cost, refuse or build, train, value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import TrialState

from models.cost import Cost, compute_cost
from models.spec import ArchSpec
from search.config import SearchConfig
from search.data.load import form_of
from search.engine.confusion import confusion_of
from search.engine.latency import measure_latency
from search.engine.metrics import EpochMetrics, score
from search.engine.train import TrainResult
from search.limits import latency_excess, latency_words, refusal
from search.search_space.augmentations import as_searched
from search.search_space.space_file import space_of
from search.study.attributes import GIVEN
from search.study.training import RecordedTraining, note
from search.study.trials import FINISHED, REFUSED, REPEATED, STOPPED
from space import Candidate, assemble, suggest


class Objective:
    """Callable for `study.optimize`; picklable, so that every worker process can have its own.

    A finished trial's weights are written to weights_dir (None: not kept). engine: as in `engine_for`.
    """

    def __init__(self, config: SearchConfig, weights_dir: Path | None = None, engine: str = "auto") -> None:
        self.config = config
        self.training = RecordedTraining(weights_dir, engine)

    def __call__(self, trial: optuna.Trial) -> float:
        """What one candidate is worth: its accuracy in [0, 1], or the metric that the search has instead.

        Raises TrialPruned for one that is over a limit or hopeless, TrialFailedError for one that diverged.
        """
        form = form_of(self.config.data)
        candidate = self._given(trial) or suggest(trial, form.input_shape, form.n_classes, space_of(self.config))
        candidate = replace(candidate, recipe=as_searched(candidate.recipe, self.config))
        cost = compute_cost(candidate.arch)
        self._refuse_over_limit(trial, cost)
        repeated = self._find_repeated(trial, candidate)
        if repeated is not None:
            return _take_over(trial, repeated)
        self._refuse_over_latency(trial, candidate)
        note(
            trial,
            candidate=candidate.key(),
            arch=candidate.arch.to_dict(),
            recipe=candidate.recipe.to_dict(),
            receptive_field=cost.receptive_field,
            peak_activation_bytes=cost.peak_activation_bytes,
        )
        result = self._train(trial, candidate)
        is_best = self.config.score == "best"
        self.training.keep_weights(trial.number, result.best_state if is_best else result.last_state)
        data = self.training.data(self.config.data)
        answers = result.best_answers if is_best else result.last_answers
        mistakes = confusion_of(answers, data.scored.labels, data.n_classes)
        note(trial, outcome=FINISHED, seconds=result.seconds, mistakes=mistakes.to_dict())
        return score(result.curve, self.config.score, self.config.metric)

    def _given(self, trial: optuna.Trial) -> Candidate | None:
        """A queued network that is no point of the space, with the recipe of the other hand-designed ones."""
        given = trial.user_attrs.get(GIVEN)
        recipe = assemble(space_of(self.config).defaults).recipe
        return None if given is None else Candidate(ArchSpec.from_dict(given), recipe)

    def _refuse_over_limit(self, trial: optuna.Trial, cost: Cost) -> None:
        constraints, reason = refusal(cost, self.config)
        for name, value in constraints.items():
            trial.set_constraint(name, value)
        note(trial, n_params=cost.n_params, macs=cost.macs)
        if reason:
            note(trial, outcome=REFUSED, reason=reason)
            raise optuna.TrialPruned(reason)

    def _refuse_over_latency(self, trial: optuna.Trial, candidate: Candidate) -> None:
        latency = measure_latency(candidate.arch)
        note(trial, latency_ms=latency)
        excess = latency_excess(latency, self.config)
        if excess is None:
            return
        trial.set_constraint("latency", excess)
        if excess > 0:
            reason = latency_words(latency, self.config)
            note(trial, outcome=REFUSED, reason=reason)
            raise optuna.TrialPruned(reason)

    def _find_repeated(self, trial: optuna.Trial, candidate: Candidate) -> optuna.trial.FrozenTrial | None:
        """The earlier trial of this study that trained the same candidate to a result."""
        key = candidate.key()
        finished = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return next((earlier for earlier in finished if earlier.user_attrs.get("candidate") == key), None)

    def _train(self, trial: optuna.Trial, candidate: Candidate) -> TrainResult:
        seconds = 0.0

        def on_epoch(epoch: int, metrics: EpochMetrics) -> None:
            nonlocal seconds
            seconds += metrics.seconds
            value = metrics.value(self.config.metric)
            trial.report(value, epoch)
            # A hand-designed network is there to be compared with, so it is always trained to the end.
            if epoch < self.config.epochs and "baseline" not in trial.user_attrs and trial.should_prune():
                what = "" if self.config.metric == "accuracy" else f" {self.config.metric_name}"
                reason = f"{value:.2%}{what} after epoch {epoch} is far below the median of the finished trials"
                note(trial, outcome=STOPPED, reason=reason, seconds=seconds)
                raise optuna.TrialPruned(reason)

        data = self.training.data(self.config.data)
        seed = trial.user_attrs.get("seed", self.config.seed)
        options = {"keep_best": self.config.score == "best", "metric": self.config.metric}
        return self.training.train(trial, candidate.arch, candidate.recipe, data, seed, on_epoch, **options)


def _take_over(trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> float:
    """The earlier trial's value, or its fate."""
    reason = f"same network and recipe as trial {earlier.number}"
    note(trial, outcome=REPEATED, reason=reason, repeats=earlier.number)
    # Optuna gives a pruned trial the value it reported last, so its state decides.
    if earlier.state == TrialState.PRUNED or earlier.value is None:
        raise optuna.TrialPruned(f"{reason}, which was stopped")
    return earlier.value
