"""Show the progress of a running study on one line."""

from __future__ import annotations

from collections import Counter
from typing import Self

import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from search.config import words_of
from search.study.loop import n_trained
from search.study.trials import REFUSED, STOPPED, outcome_of


class Progress:
    """Line on a terminal that shows the counts of trained, refused and stopped trials, the best value and time left.

    Nothing is printed where standard error is no terminal.
    """

    def __init__(self, study: optuna.Study, n_trials: int) -> None:
        n_done = n_trained(study.get_trials(deepcopy=False))
        layout = "{n_fmt}/{total_fmt} trained{postfix} |{bar}| {elapsed}, {remaining} left"
        self._bar = tqdm(total=n_trials, initial=min(n_done, n_trials), bar_format=layout, disable=None, ncols=80)

    def __call__(self, study: optuna.Study) -> None:
        """Update the line from the trials of the study."""
        if self._bar.disable:
            return
        trials = study.get_trials(deepcopy=False)
        counts = Counter(map(outcome_of, trials))
        values = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        metric = words_of((study.metric_names or ["accuracy"])[0])
        metric_suffix = "" if metric == "accuracy" else f" {metric}"
        best = f", best {max(values):.2%}{metric_suffix}" if values else ""
        postfix = f"{counts[REFUSED]} refused, {counts[STOPPED]} stopped{best}"
        self._bar.set_postfix_str(postfix, refresh=False)
        # Side-by-side workers may train more trials than asked for, and tqdm drops a total that is exceeded.
        self._bar.update(min(n_trained(trials), self._bar.total) - self._bar.n)
        self._bar.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
