"""Decode image files and bring the images to one size, as an exported network decodes its pictures."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import PIL
import torch
from PIL import features
from torch import Tensor

from search.data.own import decoded_cache, picture_reader, pictures
from search.data.own.picture_reader import Batch, PictureFacts, PictureReader, examine
from search.data.own.pictures import level_range
from search.data.progress_line import ProgressLine
from search.data.side_by_side import n_processes_at_most, work_off
from search.text import duration

# Longest side of the images, unless their size is requested.
LONGEST_SIDE = 64

# Folders with so many files, or so many bytes in them, are kept in the cache.
_MANY_FILES, _MANY_BYTES = 1000, 100_000_000
# Work for which another process is worth its start.
_FILES_A_PROCESS, _BYTES_A_PROCESS = 200, 10_000_000
_FILES_A_BATCH, _N_SAMPLES, _COMPARED_AT_ONCE = 256, 16, 1000


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Images decoded from files.

    images        uint8 (N, C, H, W), of the readable files
    facts         facts about these files
    errors        reasons why the other files cannot be read
    level_ranges  ranges of levels that were scaled to eight bits, as in search.data.own.pictures.upright
    """

    images: Tensor
    facts: tuple[PictureFacts, ...]
    errors: Mapping[Path, str]
    level_ranges: Mapping[str, tuple[float, float]]


def decode_files(files: tuple[Path, ...], size: tuple[int, ...]) -> DecodedImages:
    """Return the images of the readable files, in their order; unchanged files are not read a second time.

    size: height and width of the images, or () for the most common size, scaled down until no side exceeds
    LONGEST_SIDE. They have one channel where none of them has a colour, else three. The images of large folders are
    decoded on all cores, and kept on disk (search.data.own.decoded_cache).
    """
    stamps = tuple(map(_stamp, files))
    if len(files) < _MANY_FILES and sum(n_bytes for n_bytes, *_ in stamps) < _MANY_BYTES:
        return _remembered(files, stamps, size)
    key = _key_of(files, stamps, size)
    if kept := _find(key, files):
        return kept
    began = time.monotonic()
    decoded = _remembered(files, stamps, size)
    seconds = time.monotonic() - began
    # Files that changed meanwhile may have been read before or after that.
    if tuple(map(_stamp, files)) == stamps and _keep(key, files, decoded):
        _remembered.cache_clear()
        print(
            f"decoded {len(files):,} pictures in {duration(seconds)}, and kept the images for the next time in "
            f"{decoded_cache.cache_folder()} (at most {decoded_cache.MOST_BYTES / 2**30:.0f} GiB; delete it at any "
            "time)",
            file=sys.stderr,
        )
    return decoded


def _stamp(file: Path) -> tuple[int, ...]:
    """Return numbers that differ once a file has changed, or zeros where it cannot be examined.

    They are part of the key of both caches, so that changed files are read again. A program may set the modification
    time of a file that it writes, but not the time of the last change of its status.
    """
    try:
        status = os.stat(file)
    except OSError:
        return 0, 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@lru_cache(maxsize=1)
def _remembered(files: tuple[Path, ...], stamps: tuple[tuple[int, ...], ...], size: tuple[int, ...]) -> DecodedImages:
    """Decode images, unless they are those that this process decoded last and did not keep on disk."""
    return _decode_anew(files, sum(n_bytes for n_bytes, *_ in stamps), size)


def _decode_anew(files: tuple[Path, ...], n_bytes: int, requested_size: tuple[int, ...]) -> DecodedImages:
    """Decode files on as many cores as are worth it. Most are opened once, with a size that is guessed from a few."""
    n_processes = min(n_processes_at_most(), max(len(files) // _FILES_A_PROCESS, n_bytes // _BYTES_A_PROCESS))
    guess = requested_size or _usual_size(Counter(_sizes_of(files[:: max(1, len(files) // _N_SAMPLES)])))
    loading = _Loading(files, guess)
    with ProgressLine("decoding pictures", len(files)) as progress:
        loading.run(PictureReader(files, guess), range(len(files)), n_processes, progress.advance)
        facts = loading.facts
        ranges = _level_ranges(facts.values())
        size = requested_size or _usual_size(Counter(fact.size for fact in facts.values()))
        if size != guess:
            loading.resize(size)
        rest = [row for row in facts if row not in loading.done]
        progress.restart(len(rest))
        loading.run(PictureReader(files, size, ranges), rest, n_processes, progress.advance)
    rows = sorted(loading.done)
    images = loading.images if len(rows) == len(files) else loading.images[rows]
    if all(bool((part == part[:, :1]).all()) for part in torch.split(images, _COMPARED_AT_ONCE)):
        images = images[:, :1].contiguous()
    errors = {files[row]: reason for row, reason in sorted(loading.errors.items())}
    return DecodedImages(images, tuple(facts[row] for row in rows), errors, ranges)


class _Loading:
    """Images, facts and errors that have been read so far, by the number of the file."""

    def __init__(self, files: Sequence[Path], size: tuple[int, ...]) -> None:
        self.facts: dict[int, PictureFacts] = {}
        self.errors: dict[int, str] = {}
        self.n_files = len(files)
        self.resize(size)

    def resize(self, size: tuple[int, ...]) -> None:
        """Begin the images anew with another height and width."""
        self.images = torch.empty(self.n_files, 3, *size, dtype=torch.uint8)
        self.done: set[int] = set()

    def run(self, reader: PictureReader, rows: Sequence[int], n_processes: int, advance: Callable[[int], None]) -> None:
        """Read the files of some rows, and call `advance` with the numbers of files that are done."""

        def receive(batch: Batch) -> None:
            advance(len(batch.facts) + len(batch.errors))
            self.facts |= batch.facts
            self.errors |= batch.errors
            for row in batch.errors:
                self.facts.pop(row, None)
            self.done |= {*batch.rows}
            if batch.rows:
                levels = torch.frombuffer(bytearray(batch.pixels), dtype=torch.uint8)
                self.images[batch.rows] = levels.view(-1, *self.images.shape[1:])

        n_at_once = max(1, min(_FILES_A_BATCH, len(rows) // (4 * max(1, n_processes))))
        batches = [rows[start : start + n_at_once] for start in range(0, len(rows), n_at_once)]
        work_off(reader, batches, n_processes, receive)


def _sizes_of(files: Sequence[Path]) -> Iterator[tuple[int, int]]:
    for file in files:
        with suppress(OSError, ValueError):
            yield examine(file)[0].size


def _level_ranges(facts: Collection[PictureFacts]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for kind in sorted({fact.kind for fact in facts if fact.kind}):
        lows, highs = zip(*(fact.extrema for fact in facts if fact.kind == kind), strict=True)
        ranges[kind] = level_range(kind, min(lows), max(highs))
    return ranges


def _usual_size(counts: Counter[tuple[int, int]]) -> tuple[int, int]:
    """Return the most common size, scaled down until no side exceeds LONGEST_SIDE.

    Of equally common sizes the smallest is used.
    """
    if not counts:
        return 1, 1
    height, width = min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _key_of(files: Sequence[Path], stamps: Sequence[tuple[int, ...]], size: tuple[int, ...]) -> str:
    """Return the key of the images of some files in the cache: it differs for other files, sizes and readers."""
    digest = hashlib.sha256()
    for reader in (__file__, decoded_cache.__file__, picture_reader.__file__, pictures.__file__):
        digest.update(Path(reader).read_bytes())
    digest.update(repr((PIL.__version__, features.version("jpg"), features.version("zlib"), size)).encode())
    for file, stamp in zip(files, stamps, strict=True):
        digest.update(os.fsencode(file) + repr(stamp).encode() + b"\0")
    return digest.hexdigest()


def _keep(key: str, files: Sequence[Path], decoded: DecodedImages) -> bool:
    """Keep decoded images in the cache; return whether that was possible."""
    kinds = {fact: number for number, fact in enumerate(dict.fromkeys(decoded.facts))}
    rows = {file: row for row, file in enumerate(files)}
    facts = {
        "kinds": list(kinds),
        "facts": [kinds[fact] for fact in decoded.facts],
        "errors": [(rows[file], reason) for file, reason in decoded.errors.items()],
        "ranges": decoded.level_ranges,
    }
    return decoded_cache.keep_images(key, decoded.images, facts)


def _find(key: str, files: Sequence[Path]) -> DecodedImages | None:
    """Return the decoded images that are kept under a key, or None."""
    found = decoded_cache.find_images(key)
    if found is None:
        return None
    images, facts = found
    kinds = [
        PictureFacts((size[0], size[1]), n_frames, kind, (extrema[0], extrema[1]), is_cut)
        for size, n_frames, kind, extrema, is_cut in facts["kinds"]
    ]
    errors = {files[row]: reason for row, reason in facts["errors"]}
    ranges = {kind: (low, end) for kind, (low, end) in facts["ranges"].items()}
    return DecodedImages(images, tuple(kinds[number] for number in facts["facts"]), errors, ranges)
