"""Decoding of many pictures: on all cores as on one, once, and kept in a cache that changes are not hidden by."""

from __future__ import annotations

import errno
import io
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from search.data.own import decode, decoded_cache, picture_reader
from search.data.own.decode import DecodedImages, decode_files

N = 30


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures that counts as large, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(decode, "_MANY_FILES", 10)
    monkeypatch.setattr(decode, "_FILES_A_PROCESS", 1)
    monkeypatch.setattr(decode, "n_processes_at_most", lambda: 3)
    decode._remembered.cache_clear()
    return write(tmp_path / "pictures")


def write(folder: Path) -> Path:
    """Pictures of several forms: of noise, one of another size, one with transparency, deep ones and a damaged one."""
    folder.mkdir()
    for number in range(N):
        draw(folder / f"{number:02d}.{('png', 'jpg', 'bmp')[number % 3]}", number)
    draw(folder / "30.png", 30, (9, 12))
    Image.new("RGBA", (8, 8), (200, 0, 0, 100)).save(folder / "31.png")
    Image.new("I;16", (8, 8), 3000).save(folder / "32.png")
    Image.new("I;16", (8, 8), 40000).save(folder / "33.tif")
    (folder / "34.png").write_bytes(b"no picture")
    (folder / "35.jpg").write_bytes((folder / "01.jpg").read_bytes()[:200])
    frames = [Image.new("L", (8, 8), 80 * number) for number in range(3)]
    frames[0].save(folder / "36.gif", save_all=True, append_images=frames[1:])
    return folder


def draw(path: Path, seed: int, size: tuple[int, int] = (8, 8)) -> None:
    levels = random.Random(seed).randbytes(3 * size[0] * size[1])
    Image.frombytes("RGB", size, levels).save(path)


def files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.iterdir()))


def read(folder: Path, size: tuple[int, ...] = ()) -> DecodedImages:
    """Decode as a new process would."""
    decode._remembered.cache_clear()
    return decode_files(files(folder), size)


def same(first: DecodedImages, second: DecodedImages) -> bool:
    others = (second.facts, second.errors, second.level_ranges)
    return torch.equal(first.images, second.images) and (first.facts, first.errors, first.level_ranges) == others


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.*"))


@pytest.fixture
def n_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of files that were decoded anew, one for each time."""
    numbers: list[int] = []
    decode_anew = decode._decode_anew

    def count(paths: tuple[Path, ...], *arguments: object) -> DecodedImages:
        numbers.append(len(paths))
        return decode_anew(paths, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "_decode_anew", count)
    return numbers


@pytest.mark.parametrize("size", [(), (5, 7), (8, 8)])
def test_side_by_side_is_as_one_after_the_other(folder: Path, size: tuple[int, ...]) -> None:
    together = decode._decode_anew(files(folder), 0, size)
    reader = picture_reader.PictureReader(files(folder), size or (8, 8), together.level_ranges)
    for row, path in enumerate(name for name in files(folder) if name not in together.errors):
        alone = reader([files(folder).index(path)])
        assert alone.pixels == together.images[row].numpy().tobytes(), path
    assert [path.name for path in together.errors] == ["34.png", "35.jpg"]
    assert together.level_ranges == {"I": (0, 65536)}
    assert together.facts[-1].n_frames == 3


def test_a_wrong_guess_of_the_size_is_mended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(folder)
    monkeypatch.setattr(decode, "_sizes_of", lambda _: [(12, 9)])
    monkeypatch.setattr(decode, "_MANY_FILES", 1000)
    assert same(read(folder), expected)


def test_a_process_that_dies_costs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, main = decode._decode_anew(files(folder), 0, ()), os.getpid()
    call = picture_reader.PictureReader.__call__

    def die(self: picture_reader.PictureReader, rows: list[int]) -> picture_reader.Batch:
        if os.getpid() != main and 7 in rows:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(self, rows)

    monkeypatch.setattr(picture_reader.PictureReader, "__call__", die)
    assert same(decode._decode_anew(files(folder), 0, ()), expected)


def test_images_are_decoded_once(
    folder: Path, tmp_path: Path, n_decoded: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    first = read(folder)
    words = rf"decoded {N + 7} pictures in .* s, and kept the images for the next time in {tmp_path}.* GiB; delete it"
    assert re.match(words, capsys.readouterr().err)
    assert same(read(folder), first)
    assert (n_decoded, capsys.readouterr().err) == ([N + 7], "")
    (path,) = kept(tmp_path)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def preserve_times(path: Path) -> None:
    """Change the content of a file, but neither its size nor its time of modification."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "another picture": lambda folder: draw(folder / "00.png", 99),
    "the same size and time": lambda folder: preserve_times(folder / "02.bmp"),
    "a new file": lambda folder: draw(folder / "99.png", 99),
    "a file less": lambda folder: (folder / "00.png").unlink(),
    "another name": lambda folder: (folder / "00.png").rename(folder / "000.png"),
    "another folder": lambda folder: folder.rename(folder.with_name("moved")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(change: str, folder: Path, n_decoded: list[int]) -> None:
    read(folder)
    CHANGES[change](folder)
    read(folder if folder.exists() else folder.with_name("moved"))
    assert len(n_decoded) == 2


def test_another_size_and_another_reader_are_kept_apart(
    folder: Path, tmp_path: Path, n_decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(folder).images.shape[2:] != read(folder, (5, 7)).images.shape[2:]
    monkeypatch.setattr("PIL.__version__", "0.0")
    read(folder)
    assert len(n_decoded) == len(kept(tmp_path)) == 3


def test_files_that_change_while_they_are_read_are_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_anew = decode._decode_anew

    def change(*arguments: object) -> DecodedImages:
        decoded = decode_anew(*arguments)  # type: ignore[arg-type]
        draw(folder / "00.png", 99)
        return decoded

    monkeypatch.setattr(decode, "_decode_anew", change)
    read(folder)
    assert kept(tmp_path) == []


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip(position: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    return damage


@pytest.mark.parametrize("damage", [cut_off, flip(0), flip(-60), flip(-40), lambda path: path.write_bytes(b"")])
def test_a_damaged_file_is_replaced(
    damage: Callable[[Path], object], folder: Path, tmp_path: Path, n_decoded: list[int]
) -> None:
    first = read(folder)
    damage(kept(tmp_path)[0])
    assert same(read(folder), first)
    assert same(read(folder), first)
    assert len(n_decoded) == 2


def full(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "posix_fallocate", refuse)


def full_at_last(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "fsync", refuse)


def a_file_in_the_way(folder: Path, _patch: pytest.MonkeyPatch) -> None:
    folder.parent.joinpath("cache").write_text("")


def no_home(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    patch.setenv("XDG_CACHE_HOME", "relative")
    patch.setattr(Path, "home", refuse)


def too_small(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decoded_cache, "MOST_BYTES", 100)


@pytest.mark.parametrize("obstacle", [full, full_at_last, a_file_in_the_way, no_home, too_small])
def test_without_room_for_a_cache_images_are_decoded_each_time(
    obstacle: Callable[[Path, pytest.MonkeyPatch], None],
    folder: Path,
    n_decoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    obstacle(folder, monkeypatch)
    first = read(folder)
    assert same(read(folder), first)
    assert (len(n_decoded), capsys.readouterr().err) == (2, "")
    assert not list(folder.parent.rglob("*.partial"))


def test_what_was_not_used_for_longest_makes_room(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_decoded: list[int]
) -> None:
    for number, size in enumerate(((5, 7), (6, 6), (5, 6))):
        read(folder, size)
        for path in kept(tmp_path)[: number + 1]:
            os.utime(path, (time.time() - 100, path.stat().st_mtime - 100))
    read(folder, (5, 7))  # is used, so that (6, 6) is now the oldest
    abandoned = kept(tmp_path)[0].with_name("x.partial")
    abandoned.write_text("")
    os.utime(abandoned, (0, 0))
    monkeypatch.setattr(decoded_cache, "MOST_BYTES", sum(path.stat().st_size for path in kept(tmp_path)))
    read(folder, (6, 5))
    assert not abandoned.exists()
    n_before = len(n_decoded)
    read(folder, (5, 7))
    assert len(n_decoded) == n_before
    read(folder, (6, 6))
    assert len(n_decoded) == n_before + 1


def test_images_that_cannot_be_kept_are_remembered_by_the_process(
    folder: Path, n_decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    too_small(folder, monkeypatch)
    first = decode_files(files(folder), ())
    assert decode_files(files(folder), ()) is first
    draw(folder / "00.png", 99)
    assert not same(decode_files(files(folder), ()), first)
    assert len(n_decoded) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock that goes on by a second whenever it is looked at."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    return


@pytest.mark.usefixtures("clock")
def test_a_terminal_shows_how_far_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    read(folder)
    assert f"\rdecoding pictures: {N + 7} of {N + 7}" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().splitlines()[-1].rstrip().split("\r")[-1].startswith("decoded 37 pictures in ")
