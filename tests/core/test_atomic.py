"""Everything written is complete or not there."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from napari_denoisereg import atomic
from napari_denoisereg.io import check_apart, check_writable, read, replacing, write, write_steps
from napari_denoisereg.stack import Stack

NAMES = ("movie.tif", "movie.ome.tif", "movie.ome.zarr")
each_format = pytest.mark.parametrize("name", NAMES)

WRITE_FOREVER = """
import sys, time
import numpy as np
from napari_denoisereg.io import write_steps
from napari_denoisereg.stack import Stack

class Slow:
    shape, dtype = (10**6, 64, 64), np.dtype("float32")
    def __getitem__(self, index):
        time.sleep(0.01)
        return np.full((64, 64), 2, np.float32)

works = [write_steps(Stack(Slow(), "tyx"), path, overwrite=True) for path in sys.argv[1:]]
for _ in range(1000):
    done = [next(work).done for work in works]
    print(min(done), flush=True)
"""


def _stack(value: float, frames: int = 3) -> Stack:
    return Stack(np.full((frames, 8, 9), value, np.float32), "tyx")


def _inside(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_killed_writes_leave_the_old_results(tmp_path: Path) -> None:
    paths = [write(_stack(1), tmp_path / name) for name in NAMES]
    command = [sys.executable, "-c", WRITE_FOREVER, *map(str, paths)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while float(process.stdout.readline()) < 5:
            pass
        os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    finally:
        process.kill()
        process.communicate()
    assert len(_inside(tmp_path)) == 6  # it was killed in the middle: its parts are still there
    for path in paths:
        assert read(path).shape == (3, 8, 9)
        assert (np.asarray(read(path).data) == 1).all()


@each_format
def test_closed_write_leaves_everything_as_it_was(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(_stack(1), tmp_path / name)
    monkeypatch.setattr("napari_denoisereg.steps.Pace.is_due", lambda self, last=False: True)
    steps = write_steps(_stack(2), path, overwrite=True)
    next(steps)
    steps.close()
    assert _inside(tmp_path) == [name]
    assert (np.asarray(read(path).data) == 1).all()


@each_format
def test_write_that_fails_leaves_everything_as_it_was(tmp_path: Path, name: str) -> None:
    class Broken:
        shape, dtype = (3, 8, 9), np.dtype("float32")

        def __getitem__(self, index: tuple[int, ...]) -> np.ndarray:
            if index[0] == 2:
                raise RuntimeError("no frame 2")
            return np.ones((8, 9), np.float32)

    path = write(_stack(1), tmp_path / name)
    with pytest.raises(RuntimeError, match="no frame 2"):
        write(Stack(Broken(), "tyx"), path, overwrite=True)
    assert _inside(tmp_path) == [name]
    assert (np.asarray(read(path).data) == 1).all()


@each_format
def test_progress_ends_at_its_total(tmp_path: Path, name: str) -> None:
    last = list(write_steps(_stack(1), tmp_path / name))[-1]
    assert last.done == last.total == 3


@each_format
def test_earlier_result_is_kept_unless_told(tmp_path: Path, name: str) -> None:
    path = write(_stack(1), tmp_path / name)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_steps(_stack(2), path)
    write(_stack(2), path, overwrite=True)
    assert (np.asarray(read(path).data) == 2).all()
    assert _inside(tmp_path) == [name]


@each_format
def test_result_may_replace_the_file_it_is_computed_from(tmp_path: Path, name: str) -> None:
    path = write(_stack(1), tmp_path / name)
    source = read(path)
    write(source.with_data(source.lazy() + 4), path, overwrite=True)
    assert (np.asarray(read(path).data) == 5).all()


@each_format
def test_reading_changes_no_file(tmp_path: Path, name: str) -> None:
    path = write(_stack(1), tmp_path / name)
    files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
    before = [(file, file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    np.asarray(read(path).data)
    assert before == [(file, file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert _inside(tmp_path) == [name]


def test_folder_of_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="not replaced"):
        write_steps(_stack(1), tmp_path / "mine.zarr", overwrite=True)
    assert (tmp_path / "mine.zarr" / "thesis.txt").read_text() == "years of work"


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="create it first"):
        check_writable(tmp_path / "nowhere" / "a.tif")


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="Expected a folder"):
        check_writable(tmp_path / "file" / "a.tif")


def test_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="cannot be written to"):
        check_writable(tmp_path / "a.tif")


def test_folder_that_refuses_only_when_asked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(PermissionError, match="choose another folder"):
        check_writable(tmp_path / "a.tif")


def test_disk_without_room_for_a_single_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="free some space"):
        check_writable(tmp_path / "a.tif")


@pytest.mark.parametrize("name", NAMES)
def test_full_disk_is_refused_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class Untouched:
        shape, dtype = (3, 8, 9), np.dtype("float32")

        def __getitem__(self, index: object) -> np.ndarray:
            pytest.fail("A frame was computed although the disk is full.")

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 900, 100))
    with pytest.raises(OSError, match=r"needs up to 864 bytes, .* has 100 bytes free"):
        write_steps(Stack(Untouched(), "tyx"), tmp_path / name)
    assert _inside(tmp_path) == []


def test_folder_left_by_a_run_killed_while_swapping_is_found_and_put_right(tmp_path: Path) -> None:
    path = write(_stack(1), tmp_path / "movie.zarr")
    path.rename(tmp_path / ".movie.zarr.previous")
    assert (np.asarray(read(path).data) == 1).all()
    write(_stack(2), path)
    assert (np.asarray(read(path).data) == 2).all()
    assert _inside(tmp_path) == ["movie.zarr"]


def test_swap_that_fails_restores_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.startswith(".part-"):
            raise OSError("the network share is gone")
        return rename(self, target)

    path = write(_stack(1), tmp_path / "movie.zarr")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="share is gone"):
        write(_stack(2), path, overwrite=True)
    assert (np.asarray(read(path).data) == 1).all()
    assert _inside(tmp_path) == ["movie.zarr"]


def test_swap_that_fails_without_an_earlier_result_tells_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(f"the network share of {self.suffix} is gone")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match=r"share of \.zarr is gone"):
        write(_stack(1), tmp_path / "movie.zarr")
    assert _inside(tmp_path) == []


def test_parts_of_killed_runs_are_removed_a_day_later(tmp_path: Path) -> None:
    old, recent, other = (tmp_path / name for name in (".part-01234567-a.tif", ".part-abcdef01-a.tif", ".part-01234567-b.tif"))
    for part in (old, recent, other):
        part.write_bytes(b"half")
    yesterday = time.time() - 2 * atomic.ABANDONED_AFTER
    os.utime(old, (yesterday, yesterday))
    os.utime(other, (yesterday, yesterday))
    write(_stack(1), tmp_path / "a.tif")
    assert _inside(tmp_path) == sorted([recent.name, other.name, "a.tif"])


def test_names_with_brackets_are_no_patterns(tmp_path: Path) -> None:
    part = tmp_path / ".part-01234567-a1.tif"
    part.write_bytes(b"half")
    os.utime(part, (1, 1))
    write(_stack(1), tmp_path / "a[1].tif")
    assert _inside(tmp_path) == [part.name, "a[1].tif"]


@pytest.mark.skipif(os.name == "nt", reason="rights of files are a matter of POSIX")
def test_result_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = write(_stack(1), tmp_path / "a.tif")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_unknown_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected a name ending in"):
        write(_stack(1), tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"Expected a \.tif"):
        read(tmp_path / "a.png")


def test_missing_file_says_so(tmp_path: Path) -> None:
    for name in NAMES:
        with pytest.raises(FileNotFoundError, match="check the name"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_result_goes_where_a_link_leads(tmp_path: Path, name: str) -> None:
    (tmp_path / "disk").mkdir()
    place, link = tmp_path / "disk" / name, tmp_path / name
    link.symlink_to(place)
    for overwrite in (False, True):
        write(_stack(1), link, overwrite=overwrite)
        assert link.is_symlink()
        assert {path.name for path in (*tmp_path.iterdir(), *place.parent.iterdir())} == {"disk", name}
        np.testing.assert_array_equal(np.asarray(read(place).data), np.asarray(_stack(1).data))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError("9216 requested and 6960 written")]
)
def test_disk_that_becomes_full_is_told_as_such(tmp_path: Path, error: OSError) -> None:
    (tmp_path / "a.tif").write_text("old")

    def write_half() -> None:
        with replacing(tmp_path / "a.tif", overwrite=True) as part:
            part.write_text("half")
            raise error

    with pytest.raises(OSError, match=r"became full while writing a\.tif"):
        write_half()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_other_errors_are_passed_on(tmp_path: Path) -> None:
    def write_nothing() -> None:
        with replacing(tmp_path / "a.tif"):
            raise OSError(errno.EIO, "the cable was pulled")

    with pytest.raises(OSError, match="the cable was pulled"):
        write_nothing()


def test_output_is_kept_apart_from_inputs(tmp_path: Path) -> None:
    movie = tmp_path / "movie.zarr"
    movie.mkdir()
    (tmp_path / "link.zarr").symlink_to(movie)
    for target, given in ((movie, movie), (tmp_path / "link.zarr", movie), (tmp_path / "x" / ".." / "movie.zarr", movie / "0")):
        with pytest.raises(ValueError, match="would replace the"):
            check_apart(target, tmp_path / "other.tif", given)
    check_apart(tmp_path / "movie.zarr.tif", movie)
    check_apart(movie / "denoised.zarr", movie)
