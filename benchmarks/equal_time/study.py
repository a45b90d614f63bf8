"""Run one study of the comparison: a search until its time is up, and the scoring of its leaders."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.equal_time.arms import ARMS, TimedSearch
from benchmarks.equal_time.clock import TimeUpError, TrainingClock
from benchmarks.equal_time.results import ScoredLeader, StudyResult
from benchmarks.equal_time.tasks import SHARES, TASKS, Sources, Task, images_of, search_config, without_scored
from benchmarks.equal_time.trainer import Leader, TimedTrainer, leader_at
from models.cost import compute_cost
from search.data.dataset import Dataset
from search.engine.process import prepare_process
from search.engine.train import TrainingDivergedError
from search.search_space.encoding import Candidate
from search.study.provenance import environment
from search.study.seeds import derived_seed
from search.study.training import Training


@dataclass(frozen=True)
class StudyPlan:
    """Plan of one study: the names of its task and its arm, its seed, and where the data sets are."""

    task: str
    arm: str
    seed: int
    sources: Sources

    @property
    def name(self) -> tuple[str, str, int]:
        """Return the name of the study: task, arm and seed."""
        return self.task, self.arm, self.seed


def run_study(plan: StudyPlan) -> StudyResult:
    """Run the search of a study, and score the leaders on images that it has not seen."""
    began = time.process_time()
    prepare_process()
    task = TASKS[plan.task]
    data = images_of(task, plan.sources, plan.seed)
    trainer = run_search(plan.arm, task, data, plan.seed)
    found = [leader_at(trainer.leaders, share * task.seconds) for share in SHARES]
    distinct: list[Leader] = []
    for leader in found:
        if leader is not None and leader.candidate not in [other.candidate for other in distinct]:
            distinct.append(leader)
    candidates = [leader.candidate for leader in distinct]
    scored = tuple(score_leader(leader, task, data, plan.seed) for leader in distinct)
    facts = environment()
    return StudyResult(
        arm=plan.arm,
        seed=plan.seed,
        task=task,
        shares=SHARES,
        leaders=scored,
        leader_rows=tuple(-1 if leader is None else candidates.index(leader.candidate) for leader in found),
        chance=1 / data.n_classes,
        spent=trainer.clock.spent,
        all_seconds=time.process_time() - began,
        n_begun=trainer.n_begun,
        n_complete=trainer.n_complete,
        processor=facts["processor"],
        revision=facts["revision"],
    )


def run_search(
    arm: str, task: Task, data: Dataset, seed: int, now: Callable[[], float] = time.process_time
) -> TimedTrainer:
    """Search with an arm until the time of the task is up; return the trainer, which knows the leaders.

    now: clock of the trainings, as in TrainingClock
    """
    config = search_config(task, data, seed)
    trainer = TimedTrainer(config, data, TrainingClock(task.seconds, now))
    with suppress(TimeUpError):
        ARMS[arm].run(TimedSearch(config, trainer))
    return trainer


def score_leader(leader: Leader, task: Task, data: Dataset, seed: int) -> ScoredLeader:
    """Train a leader by its own recipe from fresh seeds, and score it on the images that no search has seen."""
    unseen = without_scored(data)
    fresh = tuple(
        _accuracy(leader.candidate, unseen, derived_seed(seed, "fresh", number)) for number in range(task.n_fresh)
    )
    n_params = compute_cost(leader.candidate.arch).n_params
    return ScoredLeader(leader.candidate, n_params, leader.epochs, leader.accuracy, fresh)


def _accuracy(candidate: Candidate, data: Dataset, seed: int) -> float:
    """Return the accuracy after a complete training, that of chance if the training diverges."""
    training = Training(candidate.arch, candidate.recipe, seed, every_epoch=False)
    try:
        return training.value(training.run(data, n_threads=lambda: 1))
    except TrainingDivergedError:
        return 1 / data.n_classes
