"""Leave out training images that are copies of test images, and name the pictures that lie in two classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from search.data.copies import copies_of, first_copies, is_first_copy
from search.data.dataset import Split
from search.data.folder_files import ImageFile
from search.data.folder_rules import shorten_names
from search.data.pictures import shown


def leave_out_copies(
    folder: Path, files: Sequence[ImageFile], images: Split, is_test: Tensor
) -> tuple[Tensor, tuple[str, ...]]:
    """Return which images to train with, bool (N,), and sentences on images with the same pixels.

    An image that is no test image is left out if it has the pixels of a test image. The test images stay as they are,
    so that those of a folder `test` are the published ones. A picture that lies in two classes is kept in both.
    """
    names = [shown(file.path.relative_to(folder)) for file in files]
    firsts = first_copies(images.images)
    is_first = is_first_copy(firsts)
    is_left_out = copies_of(firsts, is_test) & ~is_test
    remarks = []
    if not is_first.all():
        n_test = len(set(firsts[is_test].tolist()))
        remarks.append(
            f"Images with the same pixels as an earlier one: {int((~is_first).sum()):,} of {len(files):,}. Copies are "
            f"either training or test images; {n_test:,} test images differ from each other."
        )
    if is_left_out.any():
        copies = [names[row] for row in is_left_out.nonzero().flatten().tolist()]
        remarks.append(
            f"Left out of the training images, as they are copies of test images: {len(copies):,}, "
            f"{shorten_names(copies)}."
        )
    is_mixed = in_two_classes(images.labels, firsts)
    if is_mixed.any():
        pairs = []
        for first in (is_mixed & is_first).nonzero().flatten().tolist():
            other = int(((firsts == first) & (images.labels != images.labels[first])).nonzero()[0])
            pairs.append(f"{names[first]} = {names[other]}")
        remarks.append(
            f"Pictures that lie in two classes, of which one must be wrong: {len(pairs):,}, kept in both: "
            f"{shorten_names(pairs)}."
        )
    return ~is_test & ~is_left_out, tuple(remarks)


def in_two_classes(labels: Tensor, firsts: Tensor) -> Tensor:
    """Return which images have a copy under another label, as a mask, bool (N,); `firsts` is from `first_copies`."""
    lowest, highest = (labels.scatter_reduce(0, firsts, labels, kind) for kind in ("amin", "amax"))
    return (lowest != highest)[firsts]
