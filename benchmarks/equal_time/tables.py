"""Tables of the plan, which plan.md contains word for word."""

from __future__ import annotations

from benchmarks.equal_time.arms import ARMS
from benchmarks.equal_time.tasks import N_SEEDS, SHARES, TASKS
from search.text import markdown_table


def plan_tables() -> str:
    """Return the tasks and the arms as tables in Markdown, and the number of studies."""
    tasks = markdown_table(
        ["task", "data set", "parameters", "training", "scored", "unseen", "epochs", "seconds", "fresh seeds"],
        [
            [
                task.name,
                task.dataset,
                f"{task.budget:,}",
                f"{task.n_train:,}",
                f"{task.n_scored:,}",
                f"{task.n_unseen:,}",
                str(task.epochs),
                f"{task.seconds:g}",
                str(task.n_fresh),
            ]
            for task in TASKS.values()
        ],
        "<<>>>>>>>",
    )
    arms = markdown_table(["arm", "search"], [[name, arm.what] for name, arm in ARMS.items()], "<<")
    moments = ", ".join(f"{share:g}" for share in SHARES)
    n_studies = len(TASKS) * len(ARMS) * N_SEEDS
    return (
        f"{tasks}\n\n{arms}\n\n{len(TASKS)} tasks x {len(ARMS)} arms x {N_SEEDS} study seeds = {n_studies} studies; "
        f"leaders are scored after {moments} of the time."
    )
