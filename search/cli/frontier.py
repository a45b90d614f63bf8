"""The frontier: one study a budget, each started with what the others found, and accuracy against parameters."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from search.cli.job import Job, run_job
from search.config import SearchConfig
from search.data.load import resolve_auto
from search.errors import InputError
from search.files import make_folder, write_whole
from search.report.frontier import ALIGN, _columns, _csv, _markdown, _row, frontier_plot
from search.report.summary import StudySummary, summary_of
from search.sampling.feasibility import NothingFitsError
from search.study.load import config_of, existing, is_there
from search.study.location import StudyLocation
from search.study.trials import read_trials
from search.text import text_table


@dataclass(frozen=True)
class Frontier:
    """The studies of a frontier: budgets, first and last part of their names, and existing studies to start from."""

    budgets: tuple[int, ...]
    prefix: str
    sources: tuple[StudyLocation, ...]
    suffix: str = ""

    def locations(self, out: Path, storage: str | None) -> dict[int, StudyLocation]:
        """Return the location of the study of each budget."""
        return {budget: StudyLocation(out, f"{self.prefix}-{budget}{self.suffix}", storage) for budget in self.budgets}


def search_frontier(config: SearchConfig, frontier: Frontier, out: Path, storage: str | None, job: Job) -> int:
    """Run, or go on with, the study of every budget, the largest first; then write table and plot.

    The largest first: its small networks start the smaller ones, and adopting costs no training. A budget that nothing
    fits does not cost the others; the exit status tells of it.
    """
    data, notice = resolve_auto(config.data)
    if notice:  # as `run` names a study of digits that stand in for MNIST
        frontier = replace(frontier, suffix=f"-{data.dataset}")
    locations = frontier.locations(out, storage)
    status = 0
    for budget in sorted(locations, reverse=True):
        others = [location for other, location in locations.items() if other != budget and is_there(location)]
        warm = (*frontier.sources, *others)
        try:
            status = max(
                status, run_job(replace(config, max_params=budget), locations[budget], replace(job, warm=warm))
            )
        except NothingFitsError as error:
            print(f"search.py: {error}", file=sys.stderr)
            status = max(status, 2)
    write_frontier(frontier, out, storage)
    return status


def write_frontier(frontier: Frontier, out: Path, storage: str | None) -> None:
    """Write frontier.md, .csv and .svg of the studies that are there, and print the table."""
    locations = [*frontier.sources, *frontier.locations(out, storage).values()]
    summaries = [_summary(location) for location in locations if is_there(location)]
    found = sorted((summary for summary in summaries if summary.winner), key=lambda summary: summary.config.max_params)
    if not found:
        raise InputError(f"there is no study of the frontier {frontier.prefix!r} with a result yet")
    rows = [_row(summary) for summary in found]
    folder = out / f"{frontier.prefix}-frontier{frontier.suffix}"
    make_folder(folder)
    write_whole(folder / "frontier.md", _markdown(frontier.prefix, found, rows))
    write_whole(folder / "frontier.csv", _csv(_columns(found), rows))
    write_whole(folder / "frontier.svg", frontier_plot(found))
    print(f"\nFrontier {frontier.prefix}\n{text_table(_columns(found)[:-1], [row[:-1] for row in rows], ALIGN[:-1])}")
    print(f"\nWritten to {folder}: frontier.md, frontier.csv, frontier.svg")


def _summary(location: StudyLocation) -> StudySummary:
    study = existing(location)
    return summary_of(study, config_of(study), location, read_trials(study.get_trials(deepcopy=False)))
