"""Fixtures of several files of tests."""

from tests.search.tiny_mnist import real_mnist, tiny_mnist

__all__ = ["real_mnist", "tiny_mnist"]
