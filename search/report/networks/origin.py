"""State where the network of a trial comes from: stored with this program, another study, its user or the sampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.baselines import BASELINES
from search.report.networks.of_trial import HAND_DESIGNED, STARTING_POINT, stored_network
from search.study.trials import TrialRecord
from search.text import counted

USER_NETWORK, ADOPTED, QUEUED, PROPOSED = "user network", "adopted", "queued by hand", "proposed"
# Nouns of one network and of several, in the order in which a study trains them.
_NOUNS = {
    HAND_DESIGNED: ("hand-designed network", "hand-designed networks"),
    USER_NETWORK: ("user network", "user networks"),
    STARTING_POINT: ("starting point", "starting points"),
    QUEUED: ("network queued by hand", "networks queued by hand"),
    ADOPTED: ("adopted network", "adopted networks"),
    PROPOSED: ("network proposed by the sampler", "networks proposed by the sampler"),
}


@dataclass(frozen=True)
class Origin:
    """Origin of the network of a trial.

    kind    how the study got the network, a key of _NOUNS
    name    id of the network, name of the starting point, or "study/number" of an adopted trial; "" for the other kinds
    stored  remark that the network, or one with the same layers, is stored with this program; may be empty
    """

    kind: str
    name: str = ""
    stored: str = ""

    @property
    def detail(self) -> str:
        """Return all but the kind, in words: "s004_net3"; "" if there is nothing to add."""
        name = f"from {self.name}" if self.kind == ADOPTED else self.name
        return ", ".join(filter(None, (name, self.stored)))

    def __str__(self) -> str:
        separator = " " if self.name else ", "
        return f"{self.kind}{separator}{self.detail}" if self.detail else self.kind


def origin_of(record: TrialRecord) -> Origin:
    """Return the origin of the network of a trial."""
    if record.origin is None and record.start is not None:
        return Origin(STARTING_POINT, record.start)
    if record.origin is None and record.baseline in BASELINES:
        return Origin(HAND_DESIGNED, str(record.baseline))
    stored = _stored_remark(record)
    if record.origin is not None:
        return Origin(ADOPTED, record.origin, stored)
    if record.baseline is not None:
        return Origin(USER_NETWORK, record.baseline, stored)
    return Origin(QUEUED if record.is_queued else PROPOSED, "", stored)


def _stored_remark(record: TrialRecord) -> str:
    stored = stored_network(record.arch) if record.arch else None
    if stored is None:
        return ""
    network, is_same = stored
    return f"the {'network' if is_same else 'layers'} of {network}"


def kind_of_baseline(name: str) -> str:
    """Return the kind of a network that is recorded like a hand-designed one: HAND_DESIGNED or USER_NETWORK."""
    return HAND_DESIGNED if name in BASELINES else USER_NETWORK


def listed_kinds(counts: Mapping[str, int]) -> str:
    """Return numbers of networks by kind of origin in words: "5 hand-designed networks, 1 starting point"."""
    return ", ".join(counted(counts[kind], *nouns) for kind, nouns in _NOUNS.items() if counts.get(kind))
