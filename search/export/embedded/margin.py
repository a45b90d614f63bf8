"""Find a margin below which an answer of the network is doubtful."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.export.int8.network import Int32Array

# Share of the answers whose margin is below the threshold.
DOUBTFUL_SHARE = 0.02


def doubtful_margin(logits: Int32Array, labels: Sequence[int]) -> dict[str, int]:
    """Return the threshold, and how many answers and how many errors have a smaller margin.

    The margin is the distance of the largest logit from the second largest. The threshold is the smallest one that at
    least DOUBTFUL_SHARE of the answers are below. The result is empty if there is no error.

    logits  (N, classes)
    labels  the index of each image's class
    """
    second, best = np.sort(logits.astype(np.int64), axis=1)[:, -2:].T
    margins, is_wrong = best - second, logits.argmax(1) != np.asarray(labels)
    if not is_wrong.any():
        return {}
    threshold = 1 + int(np.sort(margins)[max(0, int(np.ceil(DOUBTFUL_SHARE * len(margins))) - 1)])
    is_below = margins < threshold
    return {
        "threshold": threshold,
        "n_answers": len(margins),
        "n_below": int(is_below.sum()),
        "n_errors": int(is_wrong.sum()),
        "n_errors_below": int((is_below & is_wrong).sum()),
    }
