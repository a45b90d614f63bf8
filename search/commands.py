"""The commands that read a study again, or none at all: report, export, describe, space, dashboard."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import optuna

import space
from models.baselines import BASELINES
from models.cost import compute_cost
from models.spec import ArchSpec
from objective import weights_path
from search.config import FailureError, InputError, SearchConfig
from search.data import Dataset, load_dataset
from search.describe import describe_baseline, describe_json, layer_table
from search.export import export_model, source_from_trial
from search.feasibility import describe_limits, feasibility_report, survey
from search.place import Place
from search.report import summarise, terminal_report, write_report
from search.study import SETTINGS, load_study, open_storage
from search.trials import TrialRecord, ranked, read_trials

NOTICE = "notice"


def conclude(study: optuna.Study, config: SearchConfig, place: Place, data: Dataset | None = None) -> int:
    """Write and print a study's report; with its data at hand, export the winner first."""
    records = read_trials(study.get_trials(deepcopy=False))
    best = ranked(records)
    winner = place.folder / "winner"
    failure: Exception | None = None
    if best and data is not None:
        weights = weights_path(place.folder / "weights", best[0].number)
        try:
            export_model(source_from_trial(best[0], config, str(place.name), weights), data, winner)
        except (InputError, FailureError) as error:
            failure = error  # the report of hours of work does not depend on it
    card = json.loads((winner / "card.json").read_text()) if (winner / "card.json").is_file() else None
    notice = study.user_attrs.get(NOTICE, "")
    summary = summarise(str(place.name), config, records, notice=notice, winner_card=card)
    write_report(summary, records, place.folder)
    made = ["report.md", "trials.csv", *(["winner/model.py"] if card else [])]
    print(f"\n{terminal_report(summary)}\n\nWritten to {place.folder}: {', '.join(made)}")
    if failure:
        raise failure
    return 0


def report(place: Place) -> int:
    """The report of a study, again, from what is on disk."""
    study = _existing(place)
    return conclude(study, _config(study), place)


def export(place: Place, data_dir: str, number: int | None, target: Path | None) -> int:
    """Write the winner, or finished trial `number`, as a stand-alone model."""
    study = _existing(place)
    config = _config(study, data_dir)
    record = _chosen(read_trials(study.get_trials(deepcopy=False)), number)
    weights = weights_path(place.folder / "weights", record.number)
    source = source_from_trial(record, config, str(place.name), weights)
    target = target or place.folder / ("winner" if number is None else f"trial-{number}")
    export_model(source, load_dataset(config.data), target)
    print(f"trial {record.number}, {record.n_params:,} parameters, accuracy {record.value:.2%}: {target}")
    return 0


def _chosen(records: list[TrialRecord], number: int | None) -> TrialRecord:
    finished = ranked(records)
    if not finished:
        raise InputError("this study has no finished trial yet")
    if number is None:
        return finished[0]
    for record in finished:
        if record.number == number:
            return record
    raise InputError(f"trial {number} is not a finished one; those are {', '.join(str(r.number) for r in finished)}")


def _existing(place: Place) -> optuna.Study:
    """The study at `place`; a database that is not there is not created."""
    path = place.sqlite_path
    if path is not None and not path.is_file():
        raise InputError(f"there is no study {place.name!r}: no database {path}")
    return load_study(open_storage(place.url), str(place.name))


def _config(study: optuna.Study, data_dir: str = "data") -> SearchConfig:
    settings = study.user_attrs.get(SETTINGS)
    if settings is None:
        raise InputError(f"study {study.study_name!r} was not made by this program")
    return SearchConfig.from_settings(settings, data_dir)


def describe(network: str, *, as_json: bool) -> int:
    """The layer table of a hand-designed network, or of the spec in a JSON file."""
    baseline = BASELINES.get(network)
    spec = baseline.spec if baseline else _read_spec(Path(network))
    cost = compute_cost(spec)
    if as_json:
        print(json.dumps(describe_json(spec, cost), indent=2))
        return 0
    print(layer_table(cost))
    if baseline:
        print(f"\n{describe_baseline(baseline)}")
    return 0


def _read_spec(path: Path) -> ArchSpec:
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        known = ", ".join(BASELINES)
        raise InputError(
            f"no hand-designed network or readable file {str(path)!r}; the networks are {known}"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {error}") from error
    # A card.json of an exported model holds the spec under "arch".
    return ArchSpec.from_dict(data["arch"] if isinstance(data, dict) and "arch" in data else data)


def show_space(config: SearchConfig) -> int:
    """The dimensions with their ranges, and how much of the space fits."""
    for dimension in space.DIMENSIONS:
        print(f"{dimension.name:22}{dimension}")
    feasibility = survey(config)
    print(f"\n{len(space.DIMENSIONS)} dimensions, for {describe_limits(config)}\n{feasibility_report(feasibility)}")
    return 0


def dashboard(place: Place, port: int) -> int:
    """Serve optuna-dashboard on the loopback address until interrupted."""
    from optuna_dashboard import run_server

    path = place.sqlite_path
    if path is not None and not path.is_file():
        raise InputError(f"there is nothing to browse yet: no database {path}")
    storage = open_storage(place.url)
    print(f"http://127.0.0.1:{port}/  (Ctrl-C ends it)", file=sys.stderr)
    run_server(storage, host="127.0.0.1", port=port)
    return 0
