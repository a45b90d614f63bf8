import pytest

from search.dashboard.trial_note import CODE_LENGTH, TEXT_LENGTH, fitted

GAP = "\u00a0\u00a0"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a line", "a line"),
        ("| a | b c |", f"| a{GAP} | b\u00a0c{GAP} |"),
        ("| --- | ---: |", "| --- | ---: |"),
        ("| | x |", f"| {GAP} | x{GAP} |"),
        (f"| {'long cell ' * 5} |", f"| {('long cell ' * 5).strip()}{GAP} |"),
        ("```\nshort | code\n```", "```\nshort | code\n```"),
        ("word " * 60, "word " * 60),
    ],
)
def test_what_is_changed_and_what_is_left(before, after):
    assert fitted(before) == f"{after}\n"


def test_a_long_command_goes_on_in_the_next_line():
    words = ["python search.py", *(f"--option-{i} {i}" for i in range(20))]
    *first, last = fitted(f"```\n{' '.join(words)}\n```").splitlines()[1:-1]
    assert first
    assert all(line.endswith(" \\") and len(line) <= CODE_LENGTH + 2 for line in first)
    assert " ".join([line.removesuffix(" \\").strip() for line in first] + [last.strip()]) == " ".join(words)


def test_lines_are_broken_only_where_that_is_asked_for():
    text = "word " * 60
    lines = fitted(text, break_lines=True).splitlines()
    assert [line.endswith("  ") for line in lines] == [True] * (len(lines) - 1) + [False]
    assert max(map(len, lines)) <= TEXT_LENGTH + 2
    assert " ".join(" ".join(lines).split()) == text.strip()
