"""Search for several budgets, with one study for each, and show accuracy against the number of parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from search.cli.job import Job, run_job
from search.config import DataConfig, SearchConfig
from search.data.load import form_of, resolve_auto
from search.errors import InputError
from search.files import make_folder, write_whole
from search.report.frontier import frontier_files, frontier_table
from search.report.summary import StudySummary, summary_of
from search.sampling.feasibility import NothingFitsError
from search.study.attributes import DATA, SETTINGS
from search.study.load import config_of, is_there, load_existing
from search.study.location import StudyLocation, name_part
from search.study.trials import read_trials

_SUFFIX = "-frontier"
# First part of the names of studies of earlier versions.
_EARLIER_PREFIX = "frontier"


@dataclass(frozen=True)
class Frontier:
    """Studies of a frontier, one for each budget.

    prefix, suffix  first and last part of the names of the studies; the budget is between them. The prefix None stands
                    for a name made of the data set
    sources         existing studies whose trials they start with
    """

    budgets: tuple[int, ...]
    prefix: str | None
    sources: tuple[StudyLocation, ...]
    suffix: str = ""

    def locations(self, out: Path, storage: str | None) -> dict[int, StudyLocation]:
        """Return the locations of the studies, by budget."""
        return {budget: StudyLocation(out, f"{self.prefix}-{budget}{self.suffix}", storage) for budget in self.budgets}

    @property
    def folder_name(self) -> str:
        """Return the name of the folder of the table and the plot."""
        return f"{str(self.prefix).removesuffix(_SUFFIX)}{_SUFFIX}{self.suffix}"

    def named(self, data: DataConfig, out: Path, storage: str | None, *, is_substitute: bool) -> Frontier:
        """Return the frontier with the names of its studies, which contain the data set unless a name was chosen.

        is_substitute: whether digits replace MNIST, in which case a chosen name gets the data set as well. Studies of
        earlier versions, which were named frontier-BUDGET, are resumed if they are of the same data set.
        """
        suffix = f"-{data.dataset}" if is_substitute else ""
        if self.prefix is not None:
            return replace(self, suffix=suffix)
        label = form_of(data).name
        earlier = replace(self, prefix=_EARLIER_PREFIX, suffix=suffix)
        if any(_data_label(location) == label for location in earlier.locations(out, storage).values()):
            return earlier
        return replace(self, prefix=f"{name_part(label)}{_SUFFIX}", suffix="")


def _data_label(location: StudyLocation) -> str | None:
    """Return the name of the data set of the study at `location`, or None without a study."""
    if not is_there(location):
        return None
    attributes = load_existing(location).user_attrs
    settings = attributes.get(SETTINGS)
    dataset = settings.get("dataset") if isinstance(settings, Mapping) else None
    return str(attributes.get(DATA, {}).get("name", dataset))


def search_frontier(config: SearchConfig, frontier: Frontier, out: Path, storage: str | None, job: Job) -> int:
    """Run or resume the study of every budget, and write table and plot; return the exit status.

    The largest budget comes first, because studies of smaller budgets adopt its small networks without training them. A
    budget that no network fits does not stop the others, but sets the exit status to 2.
    """
    data, notice = resolve_auto(config.data)
    frontier = frontier.named(data, out, storage, is_substitute=notice is not None)
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
    folder = out / frontier.folder_name
    make_folder(folder)
    files = frontier_files(str(frontier.prefix), finished)
    for name, text in files.items():
        write_whole(folder / name, text)
    print(f"\nFrontier {frontier.prefix}\n{frontier_table(finished)}")
    print(f"\nWritten to {folder}: {', '.join(files)}")


def _summary(location: StudyLocation) -> StudySummary:
    study = load_existing(location)
    return summary_of(study, config_of(study), location, read_trials(study.get_trials(deepcopy=False)))
