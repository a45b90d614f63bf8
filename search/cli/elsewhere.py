"""Which machine has a network's weights, where several trained one study and each has files of its own."""

from __future__ import annotations

from search.evidence.confirm import Confirmation
from search.storage.open import open_storage
from search.study.attributes import WORKER
from search.study.location import Place, repeats_name
from search.study.study import load_study
from search.study.training import weights_path


def weights_elsewhere(place: Place, trial: int, confirmed: Confirmation | None = None) -> str:
    """A sentence that says where the weights lie and what to do; "" if they should be here.

    trial: of the search; confirmed: where the network of its confirmation is meant, which has weights of its own.
    """
    if not place.is_shared:
        return ""
    name, number, folder = str(place.name), trial, "weights"
    if confirmed:
        name, number, folder = repeats_name(place), confirmed.network.number, "repeats"
    if weights_path(place.folder / folder, number).is_file():
        return ""
    trials = load_study(open_storage(place.url), name).get_trials(deepcopy=False)
    machine = str(trials[number].user_attrs.get(WORKER, "")).partition("/")[0]
    return (
        f"the weights of trial {trial} are not in {place.folder / folder}, but on the machine that trained them, "
        f"{machine or 'unknown'}: run `python search.py export {place.name} --storage ...` there, or give all machines "
        "one folder with --out"
    )
