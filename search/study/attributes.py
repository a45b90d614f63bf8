"""Define the names of the user attributes of studies and trials, and record the attributes of trials.

TrialRecord (search.study.trials) reads them. The databases of existing studies have these names, so they stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED

if TYPE_CHECKING:
    import optuna

    from models.cost import Cost
    from search.engine.confusion import Confusion
    from space import Candidate

# Attributes of a study.
SETTINGS = "settings"  # settings it was made with; written by open_study
DATA = "data"  # form and directory of its folder of images; written by search.study.load
VERSIONS = "versions"  # versions that its results depend on; written by search.study.results_version
EARLIER_VERSIONS = "code"  # name of VERSIONS in studies of earlier versions of this program
NOTICE = "notice"  # note on its data for the readers of its report; written by the run command
EXHAUSTED = "exhausted"  # sentence on why no candidate is left to train; written by search.sampling.exhaustion
PLAN = "confirmation"  # plan of the last confirmation, in a study of repeats; written by search.evidence.runner
N_IMAGES = "n_images"  # images that each network of a study of baselines is scored on; written by the baselines command

# Attributes of a queued trial.
BASELINE = "baseline"  # id of the hand-designed network
START = "start"  # name of the space's own starting point
USER_NETWORK = "given"  # user network that is no point of the space, as plain data
REPEAT = "repeat"  # training to be done, in a study of repeats
RETRY_OF = "retry_of"  # number of the trial that this one runs again; written by recovery, like the next two
RETRIES = "retries"  # number of workers that died while it ran
RESTARTS = "restarts"  # number of times that the whole command was killed while it ran
PARENT = "parent"  # number of the trial that this one is a mutation of; written by the sampler
IS_DRAWN = "is_drawn"  # True if its values were drawn at random at the start of the search; written by the sampler
ORIGIN = "origin"  # "study/number" of the trial that a warm start adopted

# Attributes of a trial from its start on.
WORKER = "worker"  # name of the worker that runs it
INDEX = "index"  # its position in the sequence of proposals
SEED = "seed"
INTERRUPTED = "interrupted"  # True if its user interrupted it; such a trial is run again without limit
N_PARAMS = "n_params"
MACS = "macs"
LATENCY = "latency_ms"
CANDIDATE = "candidate"  # key of the network and the recipe
ARCH = "arch"
RECIPE = "recipe"
RECEPTIVE_FIELD = "receptive_field"
PEAK_ACTIVATION_BYTES = "peak_activation_bytes"
PRECISION = "precision"
ENGINE = "engine"
CURVE = "curve"

# Attributes of a trial at its end.
OUTCOME = "outcome"
REASON = "reason"
REPEATS = "repeats"  # number of the trial whose value it took over
SECONDS = "seconds"
CONFUSION = "mistakes"  # confusion of the scored images, in a search
MISREAD = "misread"  # indices of the misread images, in a study of repeats

# Attributes that a trial keeps when it is run again.
KEPT_ON_RETRY = (BASELINE, START, REPEAT, USER_NETWORK, PARENT, IS_DRAWN)
# Attributes that an adopted trial loses: those of its run in the other study, of the proposal there, and its starting
# point, because the size of a starting point depends on the budget.
LEFT_ON_ADOPTION = (INDEX, WORKER, RETRY_OF, RETRIES, RESTARTS, INTERRUPTED, START, PARENT, IS_DRAWN)


def record_start(trial: optuna.Trial, index: int, seed: int) -> None:
    """Record the index of a trial in the sequence of proposals, and its seed."""
    _record(trial, {INDEX: index, SEED: seed})


def record_worker(trial: optuna.Trial, worker: str) -> None:
    """Record the worker that runs a trial."""
    _record(trial, {WORKER: worker})


def record_interrupted(trial: optuna.Trial) -> None:
    """Record that the user interrupted a trial."""
    _record(trial, {INTERRUPTED: True})


def record_size(trial: optuna.Trial, cost: Cost) -> None:
    """Record the parameters and multiply-adds of a candidate, even if it is refused."""
    _record(trial, {N_PARAMS: cost.n_params, MACS: cost.macs})


def record_n_params(trial: optuna.Trial, n_params: int) -> None:
    """Record the number of parameters of a repeat's network."""
    _record(trial, {N_PARAMS: n_params})


def record_latency(trial: optuna.Trial, milliseconds: float) -> None:
    """Record a candidate's latency, as search.engine.latency measures it."""
    _record(trial, {LATENCY: milliseconds})


def record_candidate(trial: optuna.Trial, candidate: Candidate, cost: Cost) -> None:
    """Record a candidate that is going to be trained."""
    facts = {
        CANDIDATE: candidate.key(),
        ARCH: candidate.arch.to_dict(),
        RECIPE: candidate.recipe.to_dict(),
        RECEPTIVE_FIELD: cost.receptive_field,
        PEAK_ACTIVATION_BYTES: cost.peak_activation_bytes,
    }
    _record(trial, facts)


def record_training(trial: optuna.Trial, seed: int, engine: str) -> None:
    """Record the seed, the precision and the engine of a training that begins."""
    _record(trial, {SEED: seed, PRECISION: "float32", ENGINE: engine})


def record_curve(trial: optuna.Trial, curve: Sequence[Mapping[str, Any]]) -> None:
    """Record the metrics of every epoch so far."""
    _record(trial, {CURVE: list(curve)})


def record_finished(
    trial: optuna.Trial, seconds: float, *, confusion: Confusion | None = None, misread: Sequence[int] | None = None
) -> None:
    """Record the end of a training, with the confusion of a candidate or the misread images of a repeat."""
    facts: dict[str, Any] = {OUTCOME: FINISHED, SECONDS: seconds}
    facts |= {} if confusion is None else {CONFUSION: confusion.to_dict()}
    facts |= {} if misread is None else {MISREAD: list(misread)}
    _record(trial, facts)


def record_stopped(trial: optuna.Trial, reason: str, seconds: float) -> None:
    """Record that the pruner stopped a training."""
    _record(trial, {OUTCOME: STOPPED, REASON: reason, SECONDS: seconds})


def record_diverged(trial: optuna.Trial, reason: str, curve: Sequence[Mapping[str, Any]]) -> None:
    """Record that the loss became NaN or infinite."""
    # The outcome comes last: once it is recorded the trial counts as decided, even if this process dies.
    _record(trial, {CURVE: list(curve), REASON: reason, OUTCOME: DIVERGED})


def record_refused(trial: optuna.Trial, reason: str) -> None:
    """Record that a trial was not trained, and the reason."""
    _record(trial, {OUTCOME: REFUSED, REASON: reason})


def record_repeated(trial: optuna.Trial, reason: str, earlier: int) -> None:
    """Record that a trial takes over the value of an earlier one."""
    _record(trial, {OUTCOME: REPEATED, REASON: reason, REPEATS: earlier})


def _record(trial: optuna.Trial, facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        trial.set_user_attr(name, value)
