"""Search for several budgets, with one study for each, and show accuracy against the number of parameters."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from search.cli.job import Job, run_job
from search.config import SearchConfig
from search.data.load import resolve_auto
from search.errors import InputError
from search.files import make_folder, write_whole
from search.report.frontier import frontier_files, frontier_table
from search.report.summary import StudySummary, summary_of
from search.sampling.feasibility import NothingFitsError
from search.study.load import config_of, is_there, load_existing
from search.study.location import StudyLocation
from search.study.trials import read_trials


@dataclass(frozen=True)
class Frontier:
    """Studies of a frontier, one for each budget.

    prefix, suffix  first and last part of the names of the studies; the budget is between them
    sources         existing studies whose trials they start with
    """

    budgets: tuple[int, ...]
    prefix: str
    sources: tuple[StudyLocation, ...]
    suffix: str = ""

    def locations(self, out: Path, storage: str | None) -> dict[int, StudyLocation]:
        """Return the locations of the studies, by budget."""
        return {budget: StudyLocation(out, f"{self.prefix}-{budget}{self.suffix}", storage) for budget in self.budgets}


def search_frontier(config: SearchConfig, frontier: Frontier, out: Path, storage: str | None, job: Job) -> int:
    """Run or resume the study of every budget, and write table and plot; return the exit status.

    The largest budget comes first, because studies of smaller budgets adopt its small networks without training them. A
    budget that no network fits does not stop the others, but sets the exit status to 2.
    """
    data, notice = resolve_auto(config.data)
    if notice:  # `run` appends the name of the data set, too, if digits replace MNIST
        frontier = replace(frontier, suffix=f"-{data.dataset}")
    locations = frontier.locations(out, storage)
    status = 0
    for budget in sorted(locations, reverse=True):
        others = [location for other, location in locations.items() if other != budget and is_there(location)]
        budget_job = replace(job, warm_starts=(*frontier.sources, *others))
        try:
            status = max(status, run_job(replace(config, max_params=budget), locations[budget], budget_job))
        except NothingFitsError as error:
            print(f"search.py: {error}", file=sys.stderr)
            status = max(status, 2)
    write_frontier(frontier, out, storage)
    return status


def write_frontier(frontier: Frontier, out: Path, storage: str | None) -> None:
    """Write frontier.md, .csv and .svg of the studies that exist, and print the table.

    Raises InputError if no study has a winner yet.
    """
    locations = [*frontier.sources, *frontier.locations(out, storage).values()]
    summaries = [_summary(location) for location in locations if is_there(location)]
    finished = sorted(
        (summary for summary in summaries if summary.winner), key=lambda summary: summary.config.max_params
    )
    if not finished:
        raise InputError(f"there is no study of the frontier {frontier.prefix!r} with a result yet")
    folder = out / f"{frontier.prefix}-frontier{frontier.suffix}"
    make_folder(folder)
    files = frontier_files(frontier.prefix, finished)
    for name, text in files.items():
        write_whole(folder / name, text)
    print(f"\nFrontier {frontier.prefix}\n{frontier_table(finished)}")
    print(f"\nWritten to {folder}: {', '.join(files)}")


def _summary(location: StudyLocation) -> StudySummary:
    study = load_existing(location)
    return summary_of(study, config_of(study), location, read_trials(study.get_trials(deepcopy=False)))
