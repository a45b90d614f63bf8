"""Write the caveats of a study, which are reasons to doubt its winner or to search further, as sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from search.config import SearchConfig
from search.evidence.confirm import NoiseFloor
from search.evidence.statistics import expected_maximum
from search.search_space.buildable import widest
from search.search_space.dimensions import Choice, FloatRange, IntRange
from search.study.trials import TrialRecord
from search.text import counted
from space import assemble, space_of

# Images that each value of `select_on` selects on, in words.
SELECTED_ON = {"test": "test", "val": "validation images"}
# Standard deviation of the accuracy across seeds. One network of 7,694 parameters reached 99.54, 99.46, 99.39, 99.49
# and 99.48 % on MNIST with one recipe after 15 epochs, from five seeds.
RUN_TO_RUN_SD = 0.0005
# A float this close to an end of its range, as a share of the range, counts as lying on the end.
END_SHARE = 0.01


def caveats(
    config: SearchConfig,
    records: Sequence[TrialRecord],
    last_improved: int,
    winner: TrialRecord,
    noise: NoiseFloor | None = None,
    *,
    is_confirmed: bool = False,
) -> tuple[str, ...]:
    """Return reasons to doubt the winner, as sentences.

    records        finished trials of the study, ranked
    last_improved  number of the trial that has the best value
    noise          measured noise floor; None for the noise that was measured on MNIST, if that applies
    is_confirmed   whether the winner was trained again from fresh seeds
    """
    space, n_suggested = space_of(config), max((len(record.params) for record in records), default=0)
    # A study of an older space has fewer dimensions than the current space.
    n_dimensions = n_suggested if 0 < n_suggested < len(space.dimensions) else space.n_searched
    range_end_values = _values_on_range_ends(winner, config)
    values = [record.value or 0.0 for record in records]
    return (
        _selection_caveat(config, len(records), noise, is_confirmed=is_confirmed),
        *([_noise_caveat(config, values, noise)] if len(records) > 1 else []),
        *([_range_end_caveat(range_end_values)] if range_end_values else []),
        f"Finished trials: {len(records)}, in a space of {counted(n_dimensions, 'dimension')}; the best value was last "
        f"improved by trial {last_improved}.",
    )


def _range_end_caveat(range_end_values: Sequence[str]) -> str:
    subject, better = "Winning values on the end of their range", "better ones"
    if len(range_end_values) == 1:
        subject, better = "A winning value on the end of its range", "a better one"
    return f"{subject}, so that {better} may lie outside: {', '.join(range_end_values)}."


def _selection_caveat(config: SearchConfig, n_finished: int, noise: NoiseFloor | None, *, is_confirmed: bool) -> str:
    images = SELECTED_ON[config.data.select_on]
    picks_epoch = config.score == "best" and config.epochs > 1
    if n_finished == 1:
        epoch = f" Its epoch was chosen on {images}." if picks_epoch else ""
        return f"Only one trial finished, from one seed, so it was compared with no other.{epoch}"
    epochs = " and their epochs" if picks_epoch else ""
    luck = ""
    sd = _sd(config, noise)
    if sd is not None:
        points = 100 * sd * expected_maximum(n_finished)
        luck = f" Were all of them equally good, the best would still stand about {points:.2f} points above their mean."
    return (
        f"Selected on {images}: the best {config.metric_name} of the search is the maximum over all finished "
        f"trials{epochs} ({n_finished}, one seed each), so it is optimistic.{luck} Fresh seeds "
        f"{'take' if is_confirmed else 'would take'} out that luck, but not that every candidate was judged by the "
        "same images."
    )


def _sd(config: SearchConfig, noise: NoiseFloor | None) -> float | None:
    """Return the standard deviation of the accuracy across seeds, None if it was not measured for these images."""
    is_known = (config.data.dataset, config.metric, config.data.image_size) == ("mnist", "accuracy", ())
    return noise.accuracy.sd if noise else RUN_TO_RUN_SD if is_known else None


def _noise_caveat(config: SearchConfig, values: Sequence[float], noise: NoiseFloor | None) -> str:
    sd = _sd(config, noise)
    if sd is None:
        return (
            f"The noise floor on {config.data.label} has not been measured, so how many trials are as good as the best "
            "is unknown."
        )
    origin = (
        f"measured here: trial {noise.trial}, {noise.accuracy.n} seeds"
        if noise
        else "measured on MNIST: one network of 7,694 parameters, 15 epochs, five seeds"
    )
    # The margin includes values that differ by one standard deviation up to rounding.
    n_near = sum(values[0] - value <= sd + 1e-9 for value in values[1:])
    return (
        f"Other finished trials within {100 * sd:.2f} points of the best, one standard deviation from run to run "
        f"({origin}): {n_near} of {len(values) - 1}." + (" Which of them is best is undecided." if n_near else "")
    )


def _values_on_range_ends(record: TrialRecord, config: SearchConfig) -> list[str]:
    """Return the searched values of a trial that lie on an end of their range and affect the network."""
    space = space_of(config)
    if record.arch is None or not record.params:
        return []  # the network is not a point of the space
    shape = (record.arch.input_shape, record.arch.n_classes)
    params = space.completed(record.params)
    candidate = assemble(params, *shape)
    end_values = []
    for dimension in space.dimensions:
        if isinstance(dimension, Choice) or dimension.low == dimension.high or dimension.name not in record.params:
            continue
        value = params[dimension.name]
        inside_value = _step_inside(dimension, value)
        if inside_value is not None and assemble({**params, dimension.name: inside_value}, *shape) != candidate:
            end_values.append(f"{dimension.name} = {value:.4g} ({dimension.low:g} to {dimension.high:g})")
    return end_values


def _step_inside(dimension: IntRange | FloatRange, value: float) -> float | None:
    """Return a value further inside the range if `value` lies on an end that could be extended, else None."""
    low, high = dimension.low, dimension.high
    if isinstance(dimension, IntRange):
        if high - low < 2:
            return None  # the range consists of its ends
        at_low_end, at_high_end, inside_value = value == low, value == high, value + (1 if value == low else -1)
    else:
        share = math.log(value / low) / math.log(high / low) if dimension.log else (value - low) / (high - low)
        at_low_end, at_high_end, inside_value = share < END_SHARE, share > 1 - END_SHARE, (low + high) / 2
    # Below the lowest value that can be built, such as a depth of 1 or a rotation of 0, there is nothing.
    return inside_value if at_high_end or (at_low_end and low > _lowest(dimension.name)) else None


def _lowest(name: str) -> float:
    """Return the lowest value that can be built for a dimension with ends."""
    row = widest(name)
    return -math.inf if isinstance(row, Choice) else row.low
