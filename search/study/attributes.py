"""Names of the user attributes of a study and of its trials, and the functions that write a trial's.

TrialRecord (search.study.trials) reads what stands here. The names lie in the databases of existing studies and stay.
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

# Of a study.
SETTINGS = "settings"  # what it was made with; by open_study
DATA = "data"  # what its folder of images holds, and where it lies; by search.study.load
VERSIONS = "versions"  # what its results depend on; by search.study.results_version
EARLIER_VERSIONS = "code"  # the same in studies of earlier versions
NOTICE = "notice"  # what a reader of its report should know of its data; by the run command
PLAN = "confirmation"  # of a study of repeats: the plan of the last confirmation; by search.evidence.runner
N_IMAGES = "n_images"  # of a study of baselines: how many images each is scored on; by the baselines command

# Of a trial, while it is queued.
BASELINE = "baseline"  # id of the hand-designed network
START = "start"  # name of the space's own starting point
USER_NETWORK = "given"  # a user network that is no point of the space: the network itself
REPEAT = "repeat"  # in a study of repeats: the training to be done
RETRY_OF = "retry_of"  # number of the trial that is run again; by recovery, as are the next two
RETRIES = "retries"  # how many workers died of it
RESTARTS = "restarts"  # how many times the whole command was killed while it ran
ORIGIN = "origin"  # "study/number" of the trial that a warm start adopted

# Of a trial, from its start on.
WORKER = "worker"  # by whom it is run
INDEX = "index"  # its place in the sequence of proposals
SEED = "seed"
INTERRUPTED = "interrupted"  # by its user, so that it is run again without limit
N_PARAMS = "n_params"
MACS = "macs"
LATENCY = "latency_ms"
CANDIDATE = "candidate"  # key of network and recipe
ARCH = "arch"
RECIPE = "recipe"
RECEPTIVE_FIELD = "receptive_field"
PEAK_ACTIVATION_BYTES = "peak_activation_bytes"
PRECISION = "precision"
ENGINE = "engine"
CURVE = "curve"

# Of a trial, at its end.
OUTCOME = "outcome"
REASON = "reason"
REPEATS = "repeats"  # number of the trial whose value it took over
SECONDS = "seconds"
CONFUSION = "mistakes"  # of a search's trial
MISREAD = "misread"  # of a repeat: indices of the images it misread

# What was queued with a trial stays with it when it is run again.
KEPT_ON_RETRY = (BASELINE, START, REPEAT, USER_NETWORK)
# What an adopted trial leaves behind: its place in the other study, and its starting point, which has a size for each
# budget.
LEFT_ON_ADOPTION = (INDEX, WORKER, RETRY_OF, RETRIES, RESTARTS, INTERRUPTED, START)


def record_start(trial: optuna.Trial, index: int, seed: int) -> None:
    """Record the place of a trial in the sequence of proposals, and its seed."""
    _record(trial, {INDEX: index, SEED: seed})


def record_worker(trial: optuna.Trial, worker: str) -> None:
    """Record who runs a trial."""
    _record(trial, {WORKER: worker})


def record_interrupted(trial: optuna.Trial) -> None:
    """Record that the user interrupted a trial."""
    _record(trial, {INTERRUPTED: True})


def record_size(trial: optuna.Trial, cost: Cost) -> None:
    """Record parameters and multiply-adds of a candidate, which is known also of those that are refused."""
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
    """Record that a training begins, from which seed and on which engine."""
    _record(trial, {SEED: seed, PRECISION: "float32", ENGINE: engine})


def record_curve(trial: optuna.Trial, curve: Sequence[Mapping[str, Any]]) -> None:
    """Record the figures of every epoch so far."""
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
    """Record that the pruner gave a training up."""
    _record(trial, {OUTCOME: STOPPED, REASON: reason, SECONDS: seconds})


def record_diverged(trial: optuna.Trial, reason: str, curve: Sequence[Mapping[str, Any]]) -> None:
    """Record that the loss became NaN or infinite."""
    # The outcome last: with it the trial counts as decided, even if this process dies here.
    _record(trial, {CURVE: list(curve), REASON: reason, OUTCOME: DIVERGED})


def record_refused(trial: optuna.Trial, reason: str) -> None:
    """Record that a trial was not trained, and why."""
    _record(trial, {OUTCOME: REFUSED, REASON: reason})


def record_repeated(trial: optuna.Trial, reason: str, earlier: int) -> None:
    """Record that a trial takes over the value of an earlier one."""
    _record(trial, {OUTCOME: REPEATED, REASON: reason, REPEATS: earlier})


def _record(trial: optuna.Trial, facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        trial.set_user_attr(name, value)
