"""kill -9 at random moments, over main process and workers, of a search as its user starts it."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.kills import STUDY, Attack

N_KILLS = 4


def test_nothing_that_was_reported_is_lost_and_the_total_is_reached(tmp_path: Path, digits: tuple[str, ...]) -> None:
    options = (*digits, "--epochs", "1", "--study", STUDY)
    attack = Attack(tmp_path, 2, random.Random(2), options, mean_pause=1.0)
    attack.run(N_KILLS)
    assert attack.faults == []
    assert attack.killed.total() == N_KILLS
    assert attack.reported
