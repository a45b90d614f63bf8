"""Fixtures of the tests of the pages."""

from tests.search.tiny_mnist import real_mnist

__all__ = ["real_mnist"]
