"""Reports of a worker process on their way to the main process."""

from __future__ import annotations

from multiprocessing import Pipe

from search.study.training_report import TrainingReport
from search.workers.pool import Worker, sender_of


def report(trial: int) -> TrainingReport:
    return TrainingReport(trial, 3, 15, 0.2, 20.0, 0.98)


def test_reports_arrive_in_their_order() -> None:
    receiver, sender = Pipe(duplex=False)
    send = sender_of(sender)
    for number in range(3):
        send(report(number))
    arrived: list[TrainingReport] = []
    worker = Worker("name", None, receiver)
    worker.pass_on_reports(arrived.append)
    assert arrived == [report(0), report(1), report(2)]
    worker.pass_on_reports(arrived.append)
    assert len(arrived) == 3


def test_a_worker_is_never_held_up_by_its_reports() -> None:
    receiver, sender = Pipe(duplex=False)
    send = sender_of(sender)
    for number in range(10_000):  # far more than a pipe holds
        send(report(number))
    arrived: list[TrainingReport] = []
    Worker("name", None, receiver).pass_on_reports(arrived.append)
    assert [each.trial for each in arrived] == list(range(len(arrived)))
    assert 0 < len(arrived) < 10_000
    receiver.close()
    send(report(0))  # the main process has ended


def test_the_reports_of_a_worker_that_has_died_end() -> None:
    receiver, sender = Pipe(duplex=False)
    sender_of(sender)(report(0))
    sender.close()
    arrived: list[TrainingReport] = []
    Worker("name", None, receiver).pass_on_reports(arrived.append)
    assert arrived == [report(0)]
