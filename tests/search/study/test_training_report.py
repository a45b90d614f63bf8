"""Reports of a training in progress, by a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from search.study import training_report
from search.study.training_report import REPORT_SECONDS, Reporter, TrainingReport


def test_reports_are_rare_and_say_how_far_the_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training_report, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    sent: list[TrainingReport] = []
    reporter = Reporter(7, 4, sent.append)
    for epoch in (1, 2):
        for step in range(1, 11):
            now[0] += REPORT_SECONDS / 4
            reporter.on_batch(epoch, step / 10)
        now[0] += 0.25
        reporter.on_epoch(0.9 + epoch / 100)
    first = {"first_share": 0.025, "first_seconds": REPORT_SECONDS / 4}
    assert [report.share for report in sent] == pytest.approx([0.125, 0.225, 0.275, 0.375, 0.475])
    assert [report.epoch for report in sent] == [1, 1, 2, 2, 2]
    assert [report.value for report in sent] == [None, None, 0.91, 0.91, 0.91]
    assert sent[0] == TrainingReport(7, 1, 4, 0.125, 1.25 * REPORT_SECONDS, **first)
    assert sent[-1] == TrainingReport(7, 2, 4, 0.475, 2.625, 0.91, scoring=0.25, **first)


def test_the_first_step_says_nothing_about_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training_report, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    sent: list[TrainingReport] = []
    reporter = Reporter(7, 15, sent.append)
    # A new process loads parts of PyTorch in the first step.
    now[0] = 3.0
    reporter.on_batch(1, 0.05)
    assert not sent
    for step in range(2, 15):
        now[0] += 0.05
        reporter.on_batch(1, step / 20)
    share, seconds = sent[0].measured
    assert seconds / share == pytest.approx(15 * 20 * 0.05)
