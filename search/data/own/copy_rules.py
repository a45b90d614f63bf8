"""Leave out training images that are copies of test images, and name the pictures that lie in two classes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from search.data.own.copies import copies_of, first_copies, is_first_copy
from search.data.own.naming import shorten_names


def leave_out_copies(
    name_of: Callable[[int], str], labels: Tensor, firsts: Tensor, is_test: Tensor
) -> tuple[Tensor, tuple[str, ...]]:
    """Return which images to train with, bool (N,), and sentences on images with the same pixels.

    An image that is no test image is left out if it has the pixels of a test image. The test images stay as they are,
    so that those of a folder `test` are the published ones. A picture that lies in two classes is kept in both, unless
    one of the two is such a copy.

    name_of: function of the number of an image that returns its name in the sentences
    labels, firsts, is_test: classes of the images, int64 (N,), the result of `first_copies`, and the mask of the test
        images, bool (N,)
    """
    is_first = is_first_copy(firsts)
    is_left_out = copies_of(firsts, is_test) & ~is_test
    remarks = []
    if not is_first.all():
        n_test = len(set(firsts[is_test].tolist()))
        remarks.append(
            f"Images with the same pixels as an earlier one: {int((~is_first).sum()):,} of {len(labels):,}. Copies are "
            f"either training or test images; {n_test:,} test images differ from each other."
        )
    if is_left_out.any():
        copies = [name_of(row) for row in is_left_out.nonzero().flatten().tolist()]
        remarks.append(
            f"Left out of the training images, as they are copies of test images: {len(copies):,}, "
            f"{shorten_names(copies)}."
        )
    is_mixed = in_two_classes(labels, firsts)
    if is_mixed.any():
        pairs = []
        for first in (is_mixed & is_first).nonzero().flatten().tolist():
            other = int(((firsts == first) & (labels != labels[first])).nonzero()[0])
            pairs.append(" = ".join(name_of(row) + " (left out)" * bool(is_left_out[row]) for row in (first, other)))
        kept = "" if (is_mixed & is_left_out).any() else ", kept in both"
        remarks.append(
            f"Pictures that lie in two classes, of which one must be wrong: {len(pairs):,}{kept}: "
            f"{shorten_names(pairs)}."
        )
    return ~is_test & ~is_left_out, tuple(remarks)


def kept_copies(images: Tensor, is_test: Tensor) -> tuple[str, ...]:
    """Return a sentence on the training images that are copies of test images, in a study that keeps them, or ()."""
    n_copies = int((copies_of(first_copies(images), is_test) & ~is_test).sum())
    if not n_copies:
        return ()
    return (
        f"This study is of an earlier version, which trained with copies of test images: {n_copies:,}. They stay, and "
        "its accuracies are too high; a new study leaves them out.",
    )


def in_two_classes(labels: Tensor, firsts: Tensor) -> Tensor:
    """Return which images have a copy under another label, as a mask, bool (N,); `firsts` is from `first_copies`."""
    lowest, highest = (labels.scatter_reduce(0, firsts, labels, kind) for kind in ("amin", "amax"))
    return (lowest != highest)[firsts]
