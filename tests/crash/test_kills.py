"""Test kill -9 of the main process and the workers of a search after pauses drawn from a seed."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.kills import STUDY, Attack

N_KILLS = 4
SEED = 2


def test_reported_trials_are_kept_and_the_total_is_reached(tmp_path: Path, digits: tuple[str, ...]) -> None:
    options = (*digits, "--epochs", "1", "--study", STUDY)
    attack = Attack(tmp_path, 2, random.Random(SEED), options, mean_pause=1.0)
    attack.run(N_KILLS)
    # The seed repeats what is drawn. How far the processes come in a pause depends on the machine.
    drawn = f"seed {SEED}, killed: {dict(attack.killed)}"
    assert attack.errors == [], drawn
    assert attack.killed.total() == N_KILLS, drawn
    assert attack.reported, drawn
