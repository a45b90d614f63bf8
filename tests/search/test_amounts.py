import pytest

from search.limits import BYTES, COUNT, Unit, whole_amount


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("1", COUNT, 1),
        ("8000", COUNT, 8000),
        ("8_000", COUNT, 8000),
        ("8k", COUNT, 8000),
        ("8K", COUNT, 8000),
        ("1.5M", COUNT, 1_500_000),
        ("0.001k", COUNT, 1),
        ("2G", COUNT, 2 * 10**9),
        # 0.3 * 1000 is not 300 in binary fractions.
        ("4.1k", COUNT, 4100),
        ("1.001k", COUNT, 1001),
        ("65536", BYTES, 65_536),
        ("64k", BYTES, 64_000),
        ("64kB", BYTES, 64_000),
        ("64KiB", BYTES, 65_536),
        ("64 KiB", BYTES, 65_536),
        ("0.5kib", BYTES, 512),
        ("1MiB", BYTES, 2**20),
        ("1GB", BYTES, 10**9),
        ("7B", BYTES, 7),
    ],
)
def test_amounts(text: str, unit: Unit, value: int) -> None:
    assert whole_amount(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *((text, COUNT) for text in ("", "0", "-5", "+5", "k", "8kk", "8 k k", "1e3", "1/2", ".5k", "8,000", "0.5")),
        *((text, COUNT) for text in ("8000.5", "1.0005k", "8KiB", "8kB", "inf", "nan", "٨", "9" * 5000)),
        *((text, BYTES) for text in ("64Kb/s", "1.1B", "0.1KiB", "64iB")),
    ],
)
def test_what_is_no_amount_is_named_with_what_would_be(text: str, unit: Unit) -> None:
    with pytest.raises(ValueError, match="must be a whole number of at least 1, got ") as caught:
        whole_amount(text, unit)
    assert repr(text)[:80] in str(caught.value)
    assert str(caught.value).endswith(unit.example)
