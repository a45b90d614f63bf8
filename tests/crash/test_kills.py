"""Test kill -9 of the main process and the workers of a search at random moments."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.kills import STUDY, Attack

N_KILLS = 4


def test_reported_trials_are_kept_and_the_total_is_reached(tmp_path: Path, digits: tuple[str, ...]) -> None:
    options = (*digits, "--epochs", "1", "--study", STUDY)
    attack = Attack(tmp_path, 2, random.Random(2), options, mean_pause=1.0)
    attack.run(N_KILLS)
    assert attack.errors == []
    assert attack.killed.total() == N_KILLS
    assert attack.reported
