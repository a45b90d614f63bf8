"""MNIST's files: read, verified, downloaded, and every way in which they can be absent or wrong."""

from __future__ import annotations

import gc
import re
import socket
import sys
from pathlib import Path

import pytest
import torch
from torchvision import datasets

from search.config import DataConfig
from search.data import idx as idx_module
from search.data.load import is_available, load_dataset, resolve_auto
from search.errors import InputError
from tests.search.tiny_mnist import (
    ARCHIVES,
    FAILURES,
    FILES,
    NAMES,
    TEST,
    TRAIN,
    all_files,
    load,
    mirror,
    refusal,
    same,
    send,
    write_files,
)

# --- MNIST from files


def test_real_mnist_is_accepted_and_read_as_torchvision_reads_it(real_mnist: Path) -> None:
    dataset = load("mnist", real_mnist)
    for split, train in ((dataset.train, True), (dataset.test, False)):
        reference = datasets.MNIST(str(real_mnist), train=train)
        assert torch.equal(split.images.squeeze(1), reference.data)
        assert torch.equal(split.labels, reference.targets)
    # The values in general use.
    assert dataset.mean == pytest.approx([0.1307], abs=5e-5)
    assert dataset.std == pytest.approx([0.3081], abs=5e-5)


def test_real_mnist_with_a_flipped_byte_is_refused(real_mnist: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in NAMES:
        (raw / name).symlink_to((real_mnist / "MNIST" / "raw" / name).resolve())
    content = bytearray((raw / NAMES[2]).read_bytes())
    content[5_000_000] ^= 1
    (raw / NAMES[2]).unlink()
    (raw / NAMES[2]).write_bytes(content)
    assert f"{raw / NAMES[2]} is corrupt" in refusal("mnist", tmp_path)


@pytest.mark.usefixtures("tiny_mnist")
class TestMnistFiles:
    def test_reads_what_was_written(self, tmp_path: Path) -> None:
        write_files(tmp_path)
        dataset = load("mnist", tmp_path)
        assert same(dataset.train, TRAIN)
        assert same(dataset.test, TEST)

    def test_read_only_directory_is_enough(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path)
        folders = (raw, raw.parent, tmp_path)
        for folder in folders:
            folder.chmod(0o555)
        try:
            assert len(load("mnist", tmp_path).train) == 60
        finally:
            for folder in folders:
                folder.chmod(0o755)
        assert all_files(tmp_path) == {f"MNIST/raw/{name}" for name in NAMES}

    @pytest.mark.parametrize("missing", [None, NAMES[2]])
    def test_whether_it_is_at_hand_is_told_without_reading_or_fetching_it(
        self, tmp_path: Path, missing: str | None
    ) -> None:
        raw = write_files(tmp_path)
        if missing:
            (raw / missing).unlink()
        before = all_files(tmp_path)
        assert is_available(DataConfig("mnist", str(tmp_path))) == (missing is None)
        assert not is_available(DataConfig("mnist", str(tmp_path / "nowhere")))
        assert is_available(DataConfig("digits", str(tmp_path / "nowhere")))
        assert all_files(tmp_path) == before

    def test_home_directory_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_files(tmp_path / "data")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert len(load("mnist", "~/data").train) == 60

    def test_old_processed_files_are_not_read(self, tmp_path: Path) -> None:
        """torchvision prefers MNIST/processed/*.pt, which nothing verifies."""
        write_files(tmp_path)
        processed = tmp_path / "MNIST" / "processed"
        processed.mkdir()
        for name in ("training.pt", "test.pt"):
            torch.save((torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)), processed / name)
        assert len(load("mnist", tmp_path).train) == 60

    @pytest.mark.parametrize(
        ("name", "content", "fault"),
        [
            (NAMES[0], b"", "is empty, expected 47,056 bytes"),
            (NAMES[0], FILES[NAMES[0]][:10_000], "has 10,000 bytes, expected 47,056"),
            (NAMES[0], FILES[NAMES[0]] + b"\0", "has 47,057 bytes, expected 47,056"),
            (NAMES[0], FILES[NAMES[0]][:-1] + b"\1", "is corrupt: its SHA-256 begins"),
            (NAMES[0], b"\1" + FILES[NAMES[0]][1:], "is corrupt: its SHA-256 begins"),
            (NAMES[0], FILES[NAMES[1]], "holds the content of train-labels-idx1-ubyte"),
            (NAMES[0], ARCHIVES[f"{NAMES[0]}.gz"], "bytes, expected 47,056"),
            (NAMES[1], FILES[NAMES[3]], "holds the content of t10k-labels-idx1-ubyte"),
            (NAMES[1], b"", "is empty, expected 68 bytes"),
            (NAMES[2], FILES[NAMES[2]][:4], "has 4 bytes, expected 15,696"),
            (NAMES[3], b"<html>Please log in</html>", "has 26 bytes, expected 28"),
            (NAMES[3], FILES[NAMES[3]][:-1] + b"\0", "is corrupt: its SHA-256 begins"),
        ],
        ids=lambda value: f"{len(value)}-bytes" if isinstance(value, bytes) else None,
    )
    @pytest.mark.parametrize("dataset", ["mnist", "auto"])
    def test_wrong_file_is_named(self, dataset: str, name: str, content: bytes, fault: str, tmp_path: Path) -> None:
        raw = write_files(tmp_path, {name: content})
        with pytest.raises(InputError) as caught:
            load_dataset(resolve_auto(DataConfig(dataset, str(tmp_path)))[0])
        message = str(caught.value)
        assert message.startswith(f"{raw / name} ")
        assert fault in message
        assert "delete it to have it downloaded again, or name a directory" in message
        assert "\n" not in message
        assert (raw / name).read_bytes() == content

    def test_wrong_file_beside_a_missing_one_is_not_passed_over(self, tmp_path: Path) -> None:
        write_files(tmp_path, {NAMES[0]: None, NAMES[3]: b""})
        with pytest.raises(InputError, match="t10k-labels-idx1-ubyte is empty"):
            resolve_auto(DataConfig("auto", str(tmp_path)))

    @pytest.mark.parametrize("path", ["", "MNIST", "MNIST/raw"])
    @pytest.mark.parametrize("dataset", ["mnist", "auto"])
    def test_file_in_place_of_a_directory(self, dataset: str, path: str, tmp_path: Path) -> None:
        root = tmp_path / "data"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
        with pytest.raises(InputError) as caught:
            load_dataset(resolve_auto(DataConfig(dataset, str(root)))[0])
        assert str(caught.value).startswith(f"{root / path} is not a directory; name a directory that holds MNIST/raw")

    def test_directory_in_place_of_a_file(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path, {NAMES[1]: None})
        (raw / NAMES[1]).mkdir()
        assert refusal("mnist", tmp_path).startswith(f"cannot read {raw / NAMES[1]}: Is a directory; name a directory")

    def test_unreadable_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By a stand-in: permissions do not bind the superuser, as whom tests may run."""

        def denied(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        raw = write_files(tmp_path)
        monkeypatch.setattr(Path, "read_bytes", denied)
        assert refusal("mnist", tmp_path).startswith(
            f"cannot read {raw / NAMES[0]}: Permission denied; name a directory"
        )


# --- MNIST from the network


@pytest.mark.usefixtures("tiny_mnist")
class TestDownload:
    def test_fetches_what_is_absent(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        root = tmp_path / "new" / "data"
        with mirror(send):
            dataset = load("mnist", root)
        assert same(dataset.train, TRAIN)
        assert same(dataset.test, TEST)
        assert all_files(root) == {f"MNIST/raw/{name}" for name in NAMES}
        assert capfd.readouterr() == ("", f"MNIST is not in {root}: downloading it\n")
        assert socket.getdefaulttimeout() is None
        assert same(load("mnist", root).train, TRAIN)

    def test_keeps_the_files_that_are_there(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path, {NAMES[2]: None})
        before = {name: (raw / name).stat().st_ino for name in NAMES if name != NAMES[2]}
        with mirror(send):
            load("mnist", tmp_path)
        assert {name: (raw / name).stat().st_ino for name in before} == before
        assert all_files(tmp_path) == {f"MNIST/raw/{name}" for name in NAMES}

    def test_unpacks_archives_put_there_by_hand(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path, dict.fromkeys(NAMES))
        for name, content in ARCHIVES.items():
            (raw / name).write_bytes(content)
        assert same(load("mnist", tmp_path).train, TRAIN)

    # torchvision leaves the response of a failed request to the garbage collector.
    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    @pytest.mark.parametrize("failing", [NAMES[0], NAMES[3]])
    @pytest.mark.parametrize("failure", FAILURES)
    def test_failure_is_explained_and_leaves_nothing(
        self, failure: str, failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        respond, reason = FAILURES[failure]
        if failure == "silence":
            monkeypatch.setattr(idx_module, "DOWNLOAD_TIMEOUT", 0.2)
        with mirror(respond, failing):
            message = refusal("mnist", tmp_path)
        gc.collect()
        assert message.startswith(f"MNIST is not in {tmp_path}: {NAMES[0]} is missing and could not be downloaded (")
        assert reason in message
        for way_out in (f"into {tmp_path / 'MNIST' / 'raw'}", "--data-dir", "$DATA_DIR", "--dataset digits"):
            assert way_out in message
        assert list(tmp_path.iterdir()) == []
        assert socket.getdefaulttimeout() is None

    def test_interruption_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(root: str, **_: bool) -> None:
            (Path(root) / "MNIST" / "raw" / NAMES[0]).write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(datasets, "MNIST", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("mnist", tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert socket.getdefaulttimeout() is None

    def test_no_connection(self, tmp_path: Path) -> None:
        message = refusal("mnist", tmp_path)
        assert re.search(r"could not be downloaded \(\[Errno \d+\] Connection refused\); ", message)

    def test_torchvision_that_cannot_be_imported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A torchvision that does not fit torch fails at import; the files themselves need none."""
        monkeypatch.setitem(sys.modules, "torchvision", None)
        assert "could not be downloaded (import of torchvision halted" in refusal("mnist", tmp_path / "absent")
        write_files(tmp_path)
        assert len(load("mnist", tmp_path).train) == 60

    def test_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert "could not be downloaded ([Errno 20] Not a directory" in refusal("mnist", tmp_path / "file" / "data")
