"""Stand-ins for the constants and the class that source.py writes into an exported model.py.

The modules whose source is copied into it import them, so that they can be checked and tested as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

CLASSES: tuple[str, ...] = ()
DATASET = ""
INPUT_SHAPE = (1, 1, 1)
MEAN: tuple[float, ...] = ()
STD: tuple[float, ...] = ()
BACKGROUND: int | None = None
EXTENT = 0
CENTRE = (0.0, 0.0)
BY_MASS = False
LEVEL_RANGES: Mapping[str, tuple[float, float]] = {}
TEST_FILES: tuple[str, ...] = ()
SEARCHED = ""
WEIGHTS = Path("weights.pt")


class Net(nn.Module):
    """Stand-in for the network of the exported file."""
