"""Return the network of a trial, and the network stored with this program that it repeats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from models.baselines import baselines_for
from models.record import RecordError
from models.spec import ArchSpec
from search.config import SearchConfig
from search.data.load import form_of
from search.report.architecture import architecture_line
from search.sampling.starting_points import starting_points
from search.study.trials import REFUSED, REPEATED, TrialRecord
from space import assemble, whole_space

HAND_DESIGNED, STARTING_POINT = "hand-designed", "starting point"


def network_of(record: TrialRecord, config: SearchConfig) -> ArchSpec | None:
    """Return the network of a trial, also of a refused one; None if the trial ended before it had all values."""
    if record.arch or not record.params:
        return record.arch
    form = form_of(config.data)
    # A refused trial of an older space lacks dimensions, which were at their defaults; an interrupted one lacks values.
    is_complete = record.outcome in (REFUSED, REPEATED)
    params = whole_space(form.input_shape).completed(record.params) if is_complete else record.params
    try:
        return assemble(params, form.input_shape, form.n_classes).arch
    except (KeyError, RecordError):
        return None


@dataclass(frozen=True)
class StoredNetwork:
    """Network that is stored with this program and therefore needs no search.

    kind  HAND_DESIGNED or STARTING_POINT
    name  id of the hand-designed network, or name of the family of starting points
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def stored_network(arch: ArchSpec) -> tuple[StoredNetwork, bool] | None:
    """Return the stored network with the layers of `arch`, and whether it is the same network; None without one.

    Networks with the same layers may differ in activation, dropout, and scale and place of batch norm.
    """
    by_key, by_line = _stored_networks(arch.input_shape, arch.n_classes)
    if stored := by_key.get(arch.key()):
        return stored, True
    stored = by_line.get(architecture_line(arch))
    return (stored, False) if stored else None


@cache
def _stored_networks(
    input_shape: tuple[int, int, int], n_classes: int
) -> tuple[dict[str, StoredNetwork], dict[str, StoredNetwork]]:
    """Return the stored networks for these images by their keys, and by their architecture lines."""
    networks = [
        (baseline.spec, StoredNetwork(HAND_DESIGNED, baseline.id))
        for baseline in baselines_for(input_shape, n_classes).values()
    ]
    for name, params in starting_points(whole_space(input_shape)):
        # The points of a family differ in their optimizers, which are the last part of the name.
        family = name.removesuffix(f"-{params['optimizer']}")
        arch = assemble(params, input_shape, n_classes).arch
        networks.append((arch, StoredNetwork(STARTING_POINT, family)))
    by_key: dict[str, StoredNetwork] = {}
    by_line: dict[str, StoredNetwork] = {}
    for arch, stored in networks:
        by_key.setdefault(arch.key(), stored)
        by_line.setdefault(architecture_line(arch), stored)
    return by_key, by_line
