"""Fixtures of several files of tests."""

from tests.search.digits_confirmations import confirmed, searched, trainings
from tests.search.digits_runs import finished, inside
from tests.search.tiny_mnist import real_mnist, tiny_mnist

__all__ = ["confirmed", "finished", "inside", "real_mnist", "searched", "tiny_mnist", "trainings"]
