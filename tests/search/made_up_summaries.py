"""Summaries of studies in every state that a report may meet."""

from dataclasses import replace

from models.baselines import MNIST_BASELINES
from search.config import DataConfig, SearchConfig
from search.report.summary import summarise
from search.study.trials import FINISHED, REFUSED
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME, confirmed, made_up, measured

VAL = replace(CONFIG, data=DataConfig("mnist", "data", select_on="val"))
DIGITS = replace(CONFIG, data=DataConfig("digits", "data"))
NOTICE = "THIS IS NOT MNIST but scikit-learn's 1,797 small digits.\nMNIST is not in /data and could not be downloaded"
CARD = {"trial": 8, "accuracy": {"file_on_test": 0.9912}}
DEEP = {"stages": 3, "head.kind": "conv", "head.hidden": True} | {
    name: value
    for i in (1, 2, 3)
    for name, value in ((f"stages.{i}.depth", 4), (f"stages.{i}.padded", 3), (f"stages.{i}.kind", "separable"))
}
BALANCED = replace(CONFIG, metric="balanced_accuracy")
WITH_BOTH = [
    replace(record, curve=tuple(one | {"balanced_accuracy": 0.97} for one in record.curve)) for record in EVERY_OUTCOME
]
LIMITED = SearchConfig(DataConfig("mnist", "data"), 10**9, 10**12, 10**12, epochs=10_000, score="last3")
SUMMARIES = {
    "every outcome": summarise("mnist-8000", CONFIG, EVERY_OUTCOME),
    "nothing yet": summarise("mnist-8000", CONFIG, []),
    "none finished": summarise("s", CONFIG, [r for r in EVERY_OUTCOME if r.outcome != FINISHED]),
    "baseline wins": summarise(
        "s", CONFIG, [made_up(i, 0.995, baseline=name) for i, name in enumerate(MNIST_BASELINES)]
    ),
    "digits": summarise("mnist-8000-digits", DIGITS, EVERY_OUTCOME, notice=NOTICE),
    "validation": summarise("s", VAL, EVERY_OUTCOME, winner_card=CARD),
    "confirmed": summarise("s", CONFIG, EVERY_OUTCOME, **confirmed()),
    "measured": summarise("s", CONFIG, EVERY_OUTCOME, **measured()),
    "confirmed on val": summarise("s", VAL, EVERY_OUTCOME, winner_card=CARD | {"trial": 9}, **confirmed(VAL)),
    "large": summarise("x" * 100, LIMITED, [made_up(10**6, 1.0, params=DEEP, n_params=10**9, macs=10**12)]),
    "imbalanced": summarise("s", CONFIG, WITH_BOTH),
    "all over": summarise("s", replace(CONFIG, max_macs=1), [made_up(0, outcome=REFUSED)]),
}
# Of a search that maximised balanced accuracy; what goes with it is WITH_BOTH.
BALANCED_SUMMARY = summarise("s", BALANCED, WITH_BOTH)
