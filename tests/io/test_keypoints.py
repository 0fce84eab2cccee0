"""Keypoints as CSV: what is written is read back, foreign files are understood, errors name file and line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.io import read_keypoints, write_keypoints

places = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def marks(draw: st.DrawFn, n_frames: int = 4, n_groups: int = 3, gaps: bool = True) -> Keypoints:
    """Some points of some frames, by some annotators."""
    n_axes = draw(st.sampled_from([2, 3]))
    groups = [("", "interior"), ("Ada, PhD", "contour"), ('B "µ"', "interior")][:n_groups]
    every = [(frame, number, *group) for frame in range(n_frames) for number in range(3) for group in groups]
    chosen = draw(st.lists(st.sampled_from(every), min_size=1, unique=True)) if gaps else every
    position = [[draw(places) for _ in range(n_axes)] for _ in chosen]
    frame, number, annotator, kind = zip(*chosen, strict=True)
    return Keypoints(frame, number, position, annotator, kind)


def _rows(points: Keypoints) -> list[tuple]:
    columns = (points.frame, points.annotator, points.kind, points.id, points.position)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


relaxed = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("file_format", ["denoisereg", "napari"])
@relaxed
@given(points=marks())
def test_everything_survives_in_these_formats(tmp_path: Path, file_format: str, points: Keypoints) -> None:
    path = write_keypoints(points, tmp_path / "k.csv", file_format=file_format, overwrite=True)
    assert _rows(read_keypoints(path)) == _rows(points)


@relaxed
@given(points=marks(n_groups=1, gaps=False))
def test_plain_files_keep_complete_tables(tmp_path: Path, points: Keypoints) -> None:
    path = write_keypoints(points, tmp_path / "k.csv", file_format="plain", overwrite=True)
    assert _rows(read_keypoints(path)) == _rows(points)


@relaxed
@given(points=marks(n_frames=2, n_groups=1, gaps=False), step=st.floats(0.01, 100))
def test_bigwarp_files_keep_pairs(tmp_path: Path, points: Keypoints, step: float) -> None:
    spacing = (3 * step, step, step / 2)[-points.n_axes :]
    path = write_keypoints(points, tmp_path / "k.csv", file_format="bigwarp", spacing=spacing, overwrite=True)
    back = read_keypoints(path, spacing=spacing)
    assert [row[:4] for row in _rows(back)] == [row[:4] for row in _rows(points)]
    for frame in (0, 1):
        np.testing.assert_allclose(back.in_frame(frame).position, points.in_frame(frame).position, rtol=1e-12)


def _read(tmp_path: Path, text: str, **options: object) -> Keypoints:
    (tmp_path / "k.csv").write_text(text, encoding="utf-8")
    return read_keypoints(tmp_path / "k.csv", **options)


def test_points_saved_by_napari_are_read(tmp_path: Path) -> None:
    text = "index,axis-0,axis-1,axis-2\n0.0,0.0,10.5,20.0\n1.0,0.0,11.0,21.0\n2.0,1.0,12.0,22.0\n3.0,1.0,13.0,23.0\n"
    points = _read(tmp_path, text)
    assert points.frame.tolist() == [0, 0, 1, 1]
    assert points.id.tolist() == [0, 1, 0, 1]
    assert points.position.tolist() == [[10.5, 20], [11, 21], [12, 22], [13, 23]]


def test_features_of_napari_give_the_ids(tmp_path: Path) -> None:
    points = _read(tmp_path, "index,axis-0,axis-1,axis-2,axis-3,label\n0,0,1,2,3,tip\n1,1,1,2,3,root\n2,1,1,2,4,tip\n")
    assert points.id.tolist() == [0, 1, 0]
    assert points.n_axes == 3


def test_landmarks_saved_by_bigwarp_are_read(tmp_path: Path) -> None:
    text = (
        '"Pt-0","true","10.0","20.0","1.0","2.0"\n'
        '"Pt-1","false","0.0","0.0","0.0","0.0"\n'
        '"Pt-2","true","Infinity","Infinity","3.0","4.0"\n'
        '"Pt-3","true","30.0","40.0","5.0","6.0"\n'
    )
    points = _read(tmp_path, text, spacing=(2.0, 0.5))
    assert points.id.tolist() == [0, 0, 3, 3]
    # x comes first in the file; fixed is frame 0.
    assert points.in_frame(0).position.tolist() == [[1, 2], [3, 10]]
    assert points.in_frame(1).position.tolist() == [[10, 20], [20, 60]]


def test_landmarks_of_volumes_are_read(tmp_path: Path) -> None:
    points = _read(tmp_path, '"a","true","1","2","3","4","5","6"\n"b","true","1","2","3","4","5","6"\n')
    assert points.in_frame(0).position.tolist() == [[6, 5, 4]] * 2
    assert points.in_frame(1).position.tolist() == [[3, 2, 1]] * 2
    assert points.in_frame(0).id.tolist() == [0, 1]


@pytest.mark.parametrize(
    "text",
    [
        "0,1.5,2\n0,3,4\n1,5,6\n",
        "t,y,x\n0,1.5,2\n0,3,4\n1,5,6\n",
        "x,y,t\n2,1.5,0\n4,3,0\n6,5,1\n",
        "Frame; Y; X\n0; 1.5; 2\n0; 3; 4\n1; 5; 6\n",
        "frame\ty\tx\n0\t1.5\t2\n0\t3\t4\n1\t5\t6\n",
        "\ufeff# made by hand\nt,y,x,comment\n0,1.5,2,\n\n0,3,4,blurred\n1,5,6,\n",
    ],
)
def test_plain_tables_are_read_with_or_without_header(tmp_path: Path, text: str) -> None:
    points = _read(tmp_path, text)
    assert points.frame.tolist() == [0, 0, 1]
    assert points.id.tolist() == [0, 1, 0]
    assert points.position.tolist() == [[1.5, 2], [3, 4], [5, 6]]


def test_plain_table_with_four_columns_is_a_volume(tmp_path: Path) -> None:
    assert _read(tmp_path, "0,1,2,3\n").position.tolist() == [[1, 2, 3]]


def test_ids_count_per_annotator_and_kind(tmp_path: Path) -> None:
    points = _read(tmp_path, "t,y,x,annotator,kind\n0,1,1,A,interior\n0,2,2,B,interior\n0,3,3,A,contour\n0,4,4,A,interior\n")
    assert points.id.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("t,y,x\n", "no keypoints"),
        ("t,y,x\n0,1,2\n0,one,2\n", r"line 3: expected a number for y in column 2, got 'one'"),
        ("t,y,x\n0,1,2\n0,nan,2\n", r"line 3: expected a number for y"),
        ("t,y,x\n0,1,2\n0,1\n", r"line 3: expected 3 columns, got 2"),
        ("t,y,x\n0.5,1,2\n", r"line 2: expected a frame number"),
        ("t,y,x\n-1,1,2\n", r"line 2: expected a frame number"),
        (",X,Y\n0,1,2\n", r"Add the column frame"),
        ("frame,id,x\n0,1,2\n", r"Add the column y"),
        ("index,axis-0,axis-1\n0,1,2\n", r"Add the column y"),
        ("index,axis-0,axis-1,axis-2,axis-3,axis-4\n0,1,2,3,4,5\n", r"expected frame"),
        ("index,shape-type,vertex-index,axis-0,axis-1\n0,polygon,0,1,2\n", "save a Points layer"),
        ("1,2\n3,4\n", "2 columns without names"),
        ("frame,id,y,x\n0,1,2,3\n0,1,4,5\n", r"k\.csv: A keypoint may be marked once"),
        ("frame,id,kind,y,x\n0,1,middle,2,3\n", r"k\.csv: Keypoint kind must be one of"),
        ('"Pt-0","false","1","2","3","4"\n', "no active landmark"),
        ('"Pt-0","true","1","2","3","4"\n"Pt-1","true","1","2","3"\n', "line 2: expected 6 columns"),
        ('"Pt-0","true","1","2","3","4"\n"Pt-1","true","1","2","3","a"\n', "line 2: expected a number"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        _read(tmp_path, text)
    assert "k.csv" in str(caught.value)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="no text file"):
        read_keypoints(tmp_path / "k.csv")
    with pytest.raises(FileNotFoundError, match="check the name"):
        read_keypoints(tmp_path / "other.csv")


def test_formats_refuse_to_lose_something(tmp_path: Path) -> None:
    two_people = Keypoints([0, 0], [0, 0], [[1, 2], [3, 4]], ["A", "B"])
    gap = Keypoints([0, 0], [0, 2], [[1, 2], [3, 4]])
    three_frames = Keypoints([0, 1, 2], [0, 0, 0], [[1, 2]] * 3)
    for points, file_format, message in (
        (two_people, "plain", "one annotator"),
        (two_people, "bigwarp", "one annotator"),
        (gap, "plain", "without gaps"),
        (three_frames, "bigwarp", "choose two frames"),
        (gap, "bigwarp", "choose two frames"),
        (gap, "excel", "Unknown keypoint format"),
    ):
        with pytest.raises(ValueError, match=message):
            write_keypoints(points, tmp_path / "k.csv", file_format=file_format)
    with pytest.raises(ValueError, match="positive spacings"):
        write_keypoints(three_frames, tmp_path / "k.csv", file_format="bigwarp", spacing=(1, 0))
    assert list(tmp_path.iterdir()) == []


def test_earlier_file_is_kept_unless_told(tmp_path: Path) -> None:
    points = Keypoints([0], [0], [[1, 2]])
    path = write_keypoints(points, tmp_path / "k.csv")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_keypoints(points, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["k.csv"]


def test_table_is_plain_to_read(tmp_path: Path) -> None:
    path = write_keypoints(Keypoints([3], [7], [[1.5, 0.1]], "Ada"), tmp_path / "k.csv")
    assert path.read_text() == "frame,id,annotator,kind,y,x\n3,7,Ada,interior,1.5,0.1\n"


def test_real_landmarks_of_one_image_ask_for_a_frame(real_data: Path) -> None:
    path = real_data / "landmarks_histology" / "rat_kidney" / "Rat-Kidney_HE.csv"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there.")
    with pytest.raises(ValueError, match="Add the column frame"):
        read_keypoints(path)
