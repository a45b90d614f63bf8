"""Write the sentences on a folder of images that a search prints at its start and repeats in its report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from search.data.dataset import Split
from search.data.own.decode import DecodedImages
from search.data.own.folder_files import FolderFiles
from search.data.own.folder_rules import SPLIT_FOLDERS, TEST_PARTS, left_out_text
from search.data.own.image_remarks import (
    class_counts,
    contrast_remarks,
    empty_classes_remark,
    form_remark,
    level_remark,
    thin_class_remarks,
)
from search.data.own.naming import join_names, shorten_names
from search.data.own.pictures import FLOAT, INTEGER, shown

_KINDS = {INTEGER: "integer levels of more than eight bits", FLOAT: "floating-point levels"}


def folder_remarks(
    folder: Path, folder_files: FolderFiles, decoded: DecodedImages, train: Split, test: Split
) -> tuple[str, ...]:
    """Return what a user should know: classes, what is read and what is not, the form of the images, and the split."""
    return (
        class_counts(folder_files.classes, train, test),
        *_class_remarks(folder, folder_files),
        *_file_remarks(folder, folder_files, decoded),
        _form_remark(decoded),
        *_level_remarks(decoded),
        *contrast_remarks(train),
        *_split_remarks(folder_files),
        *thin_class_remarks(folder_files.classes, train, test),
    )


def unreadable_text(folder: Path, folder_files: FolderFiles, decoded: DecodedImages, addition: str = "") -> str:
    """Return how many image files cannot be read, `addition`, and the first of these files with their reasons."""
    errors = [f"{shown(file.relative_to(folder))} ({reason})" for file, reason in sorted(decoded.errors.items())]
    count = f"{len(errors):,} of {len(folder_files.files):,} image files cannot be read{addition}"
    return f"{count}: {shorten_names(errors)}"


def _class_remarks(folder: Path, folder_files: FolderFiles) -> list[str]:
    remarks = []
    # Names of the folders between that of a class and an image.
    depth = len(folder.parts) + (2 if folder_files.has_splits else 1)
    inner = {name for file in folder_files.files for name in file.path.parts[depth:-1]}
    if inner_splits := sorted(name for name in inner if name.lower() in SPLIT_FOLDERS):
        remarks.append(
            f"Folders called {join_names(inner_splits)} inside the folder of a class are no splits: their images are "
            "read like the others of the class."
        )
    like_splits = [name for name in folder_files.classes if name.lower() in SPLIT_FOLDERS]
    if like_splits and not folder_files.has_splits:
        remarks.append(f"{join_names(like_splits)}: read as a class, not as a split, because of what lies beside it.")
    if folder_files.merged:
        names = shorten_names(folder_files.merged)
        remarks.append(f"Folders whose names differ only in spaces or in their Unicode form are one class: {names}.")
    return remarks + empty_classes_remark(folder_files.empty_classes)


def _file_remarks(folder: Path, folder_files: FolderFiles, decoded: DecodedImages) -> list[str]:
    """Return sentences on the files that were read, left out or read in part."""
    readable = [file.path for file in folder_files.files if file.path not in decoded.errors]
    suffixes = Counter(path.suffix.lower() for path in readable)
    kinds = [f"{n:,} {shown(suffix)}" for suffix, n in sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))]
    remarks = [f"Read: {', '.join(kinds)}."]
    if folder_files.left_out.total():
        remarks[0] += f" Left out: {left_out_text(folder_files.left_out)}."
    if decoded.errors:
        remarks.append(f"Left out, as {unreadable_text(folder, folder_files, decoded)}.")
    frames = [fact.n_frames for fact in decoded.facts if fact.n_frames > 1]
    if frames:
        remarks.append(
            f"Files with several pages or frames: {len(frames):,}; the first of each is read, and "
            f"{sum(frames) - len(frames):,} are left out."
        )
    return remarks


def _form_remark(decoded: DecodedImages) -> str:
    return form_remark(decoded.images, Counter(fact.size for fact in decoded.facts).most_common())


def _level_remarks(decoded: DecodedImages) -> list[str]:
    """Return sentences on images with more than eight bits a level."""
    remarks = []
    for kind, limits in decoded.level_ranges.items():
        facts = [fact for fact in decoded.facts if fact.kind == kind]
        extrema = min(fact.extrema[0] for fact in facts), max(fact.extrema[1] for fact in facts)
        remarks.append(level_remark(f"Images with {_KINDS[kind]}: {len(facts):,}", kind, extrema, limits))
    n_cut = sum(fact.is_cut for fact in decoded.facts)
    if n_cut:
        remarks.append(f"Images with sixteen bits a channel, of which Pillow reads the upper eight: {n_cut:,}.")
    return remarks


def _split_remarks(folder_files: FolderFiles) -> list[str]:
    if folder_files.has_test:
        return []
    return [
        f"There is no folder of test images: one in {TEST_PARTS} of the images to train with is a test image, class by "
        "class, always the same ones."
    ]
