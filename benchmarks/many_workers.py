"""How many workers does one PostgreSQL server serve, behind the proxy or without it?

    python -m benchmarks.many_workers --storage postgresql://USER@HOST/DATABASE [--workers 120] [--trials 600]
                                      [--direct]

Starts the proxy and so many workers as a search has them, but for the training: each trial suggests twenty numbers and
waits through five epochs. Each worker is a thread with a storage of its own, in one of eight processes. On the way one
of those is killed (kill -9) with all its workers, which the others are to notice. Then the study is checked: numbers
without a gap, every place decided once, every lost trial queued again once, and the total as asked for.

The study it makes is left in the database; name one that may be filled.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy import create_engine, text

from search.errors import InputError
from search.storage.open import open_storage
from search.study.loop import StopRule, n_trained, run_trials
from search.study.study import load_study, open_study
from search.study.trials import FINISHED, outcome_of
from search.workers.recovery import Undertaker, queue_again

ROOT = Path(__file__).resolve().parent.parent
N_PROCESSES = 8
N_SUGGESTIONS, N_EPOCHS = 20, 5
GRACE = 15


def pretend(trial: optuna.Trial) -> float:
    """What a trial tells the storage, without the training."""
    for i in range(N_SUGGESTIONS):
        trial.suggest_float(f"x{i}", 0.0, 1.0)
    for epoch in range(1, N_EPOCHS + 1):
        time.sleep(1.0)
        trial.report(epoch / N_EPOCHS, epoch)
        trial.should_prune()
    trial.set_user_attr("outcome", FINISHED)
    return 1.0


def work(url: str, name: str, n_threads: int, n_trials: int) -> None:
    """So many workers, each with a storage of its own."""

    def one(seed: int) -> None:
        study = load_study(open_storage(url, GRACE, queue_again), name)
        study.sampler = optuna.samplers.RandomSampler(seed)
        worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        run_trials(study, pretend, 0, StopRule(n_trials), worker=worker)

    threads = [threading.Thread(target=one, args=(os.getpid() * 1000 + i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def proxied(storage: str, port: int) -> Iterator[str]:
    """The proxy as its own process."""
    words = [sys.executable, str(ROOT / "search.py"), "proxy", "--storage", storage, "--port", str(port)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    url = f"grpc://127.0.0.1:{port}"
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise InputError("the proxy ended; run the command by hand to see why")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        open_storage(url)
    except InputError:
        return False
    return True


def faults(study: optuna.Study, asked: int, n_workers: int) -> list[str]:
    """What does not hold of the study."""
    trials = study.get_trials(deepcopy=False)
    places = Counter(trial.user_attrs["index"] for trial in trials if outcome_of(trial))
    lost = sorted(trial.number for trial in trials if trial.state.name == "FAIL")
    retried = sorted(trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs)
    states = Counter(trial.state.name for trial in trials)
    checks = {
        "numbers have gaps": [trial.number for trial in trials] != list(range(len(trials))),
        "places decided more than once": any(n > 1 for n in places.values()),
        f"lost {lost}, queued again {retried}": lost != retried,
        f"{n_trained(trials)} trained": not asked <= n_trained(trials) < asked + n_workers,
        f"left running: {states['RUNNING']}": states["RUNNING"] > 0,
    }
    return [words for words, is_fault in checks.items() if is_fault]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True, help="postgresql://...")
    parser.add_argument("--workers", type=int, default=120)
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--port", type=int, default=13000)
    parser.add_argument("--direct", action="store_true", help="without the proxy")
    args = parser.parse_args()
    if args.direct:
        return measure(args.storage, args)
    with proxied(args.storage, args.port) as url:
        return measure(url, args)


def measure(url: str, args: Any) -> int:
    """One study through `url`; 1 if anything of it is not as it should be."""
    name = f"many-{secrets.token_hex(3)}"
    study = open_study(open_storage(url, GRACE, queue_again), name, {"workers": args.workers})
    n_threads = -(-args.workers // N_PROCESSES)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(url, name, n_threads, args.trials)) for _ in range(N_PROCESSES)]
    began = time.monotonic()
    for process in processes:
        process.start()
    undertaker = Undertaker(study, is_shared=True, grace=GRACE)
    watcher = create_engine(args.storage)
    most = most_working = 0
    victim = processes[0]
    while any(process.is_alive() for process in processes):
        time.sleep(0.5)
        undertaker()
        with watcher.connect() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            most = max(most, connection.execute(text(query)).scalar_one() - 1)
        trials = study.get_trials(deepcopy=False)
        most_working = max(most_working, sum(trial.state.name == "RUNNING" for trial in trials))
        if n_trained(trials) >= args.trials // 4 and victim.is_alive():
            victim.kill()
    seconds = time.monotonic() - began
    undertaker.wait_for_others(lambda _study: None)
    found = faults(study, args.trials, args.workers)
    trials = study.get_trials(deepcopy=False)
    print(
        f"{n_threads * N_PROCESSES} workers in {N_PROCESSES} processes, at most {most_working} trials at the same time"
    )
    print(f"{n_trained(trials)} trials of {N_EPOCHS} epochs in {seconds:.0f} s, {n_threads} workers killed on the way")
    print(f"{sum('retry_of' in trial.user_attrs for trial in trials)} trials lost and queued again")
    print(f"connections of the PostgreSQL server: at most {most}")
    print("faults:", "; ".join(found) or "none")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
