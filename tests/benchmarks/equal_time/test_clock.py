import pytest

from benchmarks.equal_time.clock import TimeUpError, TrainingClock


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_only_trainings_are_counted():
    hands = Hands()
    clock = TrainingClock(10.0, hands)
    hands.seconds += 50  # a proposal
    assert clock.spent == 0
    with clock.counting():
        hands.seconds += 3
        assert clock.spent == 3
        with clock.paused():
            hands.seconds += 20  # a pruner decides
            assert clock.spent == 3
        hands.seconds += 2
    hands.seconds += 50
    assert clock.spent == 5


def test_the_time_is_up_when_more_than_the_limit_is_spent():
    hands = Hands()
    clock = TrainingClock(10.0, hands)
    with clock.counting():
        hands.seconds += 10
        clock.check()
        hands.seconds += 0.01
        with pytest.raises(TimeUpError):
            clock.check()


def test_a_training_that_fails_has_spent_its_time():
    hands = Hands()
    clock = TrainingClock(10.0, hands)

    def train() -> None:
        with clock.counting():
            hands.seconds += 4
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        train()
    hands.seconds += 4
    assert clock.spent == 4
