"""A kind of block or head that lacks a piece fails at import."""

import pytest

from models.block_kind import BlockKind, check_kinds
from models.blocks import BLOCKS
from models.heads import HeadKind
from models.spec import BLOCK_KINDS


def test_a_class_that_lacks_a_piece_is_refused() -> None:
    with pytest.raises(TypeError, match="NewBlock does not define mark, mark_meaning, label, modules, cost"):
        type("NewBlock", (BlockKind,), {})
    with pytest.raises(TypeError, match="NewHead does not define notation, modules, cost"):
        type("NewHead", (HeadKind,), {})


@pytest.mark.parametrize("kinds", [(*BLOCK_KINDS, "new"), BLOCK_KINDS[1:]])
def test_a_kind_without_a_class_and_a_class_without_a_kind_are_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(TypeError, match=r"BLOCKS and the kinds of models\.spec differ in (new|conv)"):
        check_kinds("BLOCKS", BLOCKS, kinds)


def test_marks_tell_the_blocks_apart() -> None:
    # p, b and = are marks of padding, of bare blocks and of shared weights.
    marks = [*(kind.mark for kind in BLOCKS.values()), "p", "b", "="]
    assert len(set(marks)) == len(marks)
