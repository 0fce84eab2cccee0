"""Tables of marks go where the specimen goes and keep everything else they say; napari's own files among them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from napari.layers import Layer, Points, Shapes
from napari_builtins.io import napari_get_reader, napari_write_points, napari_write_shapes

from napari_denoisereg import io
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Transform, Translation
from napari_denoisereg.register import Registration
from napari_denoisereg.register.places import bendable, thinned

SHAPE = {2: (40, 48), 3: (12, 40, 48)}
STEP = {2: (0.5, 0.25), 3: (2.0, 0.5, 0.25)}
N_FRAMES = 3
each_ndim = pytest.mark.parametrize("ndim", [2, 3])
each_motion = pytest.mark.parametrize("is_bent", [False, True])


def registration(ndim: int, is_bent: bool = False) -> Registration:
    """Frame 0 rests, the others turn and shear, or bend; the grid does not begin at 0."""
    grid = Grid(SHAPE[ndim], STEP[ndim], (3.0, -1.0, 2.0)[:ndim], ("micrometer",) * ndim)
    found: list[Transform] = [Identity(ndim)]
    for frame in range(1, N_FRAMES):
        turn = torch.eye(ndim, dtype=torch.float64)
        turn[-2:, -2:] = torch.tensor([[1.0, -0.1 * frame], [0.12 * frame, 1.0]])
        affine = Affine.about(turn, 0.4 * frame * torch.tensor(grid.spacing), grid.centre)
        waves = torch.stack(
            [torch.sin(0.3 * axis / step) for axis, step in zip(grid.points().flip(0), STEP[ndim], strict=True)]
        )
        bend = Displacement(0.6 * waves * torch.tensor(grid.spacing).reshape(-1, *(1,) * ndim), grid)
        found.append(bend.then(affine) if is_bent else affine)
    return Registration(PerFrame(found), grid)


def still(ndim: int) -> Registration:
    return Registration(PerFrame([Identity(ndim)] * N_FRAMES), Grid(SHAPE[ndim], STEP[ndim], (), ("micrometer",) * ndim))


def marks(ndim: int) -> np.ndarray:
    """Frame and place of five marks in every frame, well inside."""
    places = np.random.default_rng(0).uniform(0.35, 0.65, (N_FRAMES * 5, ndim)) * SHAPE[ndim]
    return np.column_stack([np.repeat(np.arange(N_FRAMES), 5), places])


def truth(found: Registration, numbers: np.ndarray) -> np.ndarray:
    """Where marks of the aligned movie are in the recorded one, by the definition of a transform."""
    step, origin = np.array(found.grid.spacing), np.array(found.grid.origin)
    places = [(found.points(int(row[0]), [row[1:] * step + origin])[0] - origin) / step for row in numbers]
    return np.column_stack([numbers[:, 0], places])


def outlines(ndim: int) -> tuple[list[np.ndarray], list[str]]:
    """One of each kind, in the frames in turn."""
    middle, size = np.array(SHAPE[ndim]) / 2, 6.0
    square = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * size
    planar = {
        "rectangle": square,
        "ellipse": square,
        "polygon": square[:3],
        "line": square[:2],
        "path": np.array([[-1, 0], [0, 1], [1, 0]]) * size,
    }
    corners = [np.pad(each, ((0, 0), (ndim - 2, 0))) + middle for each in planar.values()]
    return [np.insert(each, 0, n % N_FRAMES, axis=1) for n, each in enumerate(corners)], list(planar)


def opened_in_napari(path: Path) -> Layer:
    reader = napari_get_reader(str(path))
    (layer,) = reader(str(path))
    return Layer.create(*layer)


def moved(source: Path, found: Registration, target: str, **options: Any) -> Path:
    return io.write_marks(io.read_marks(source).moved(found, **options), source.with_name(target))


def test_four_columns_that_could_be_tracks_ask_for_a_header(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.csv", "0,0,5,6\n0,1,5,7\n1,0,8,9\n1,1,8,8\n"
    path.write_text(rows)
    with pytest.raises(ValueError, match=r"may be t, z, y, x or tracks .* first line: t,z,y,x or track_id,t,y,x"):
        io.read_marks(path)
    for header, expected in (("track_id,t,y,x", [0, 5, 6]), ("t,z,y,x", [0, 0, 5, 6])):
        path.write_text(f"{header}\n{rows}")
        assert io.read_marks(path).numbers[0].tolist() == expected


@pytest.mark.parametrize(
    "rows", ["0,2.5,5,6\n0,3,5,7\n", "0,4,5,6\n0,4,5,7\n", "0,3,5,6\n1,4,5,7\n2,5,5,7\n", "0,0,5,6\n0,0,5,7\n"]
)
def test_four_columns_that_are_no_tracks_are_frames_and_places(tmp_path: Path, rows: str) -> None:
    (tmp_path / "a.csv").write_text(rows)
    assert io.read_marks(tmp_path / "a.csv").numbers.shape[1] == 4


@each_ndim
@each_motion
def test_points_saved_by_napari_go_and_come_back(tmp_path: Path, ndim: int, is_bent: bool) -> None:
    found, numbers = registration(ndim, is_bent), marks(ndim)
    layer = Points(truth(found, numbers), features={"id": np.arange(len(numbers)) % 5, "who": ["anna, b."] * len(numbers)})
    source = Path(napari_write_points(str(tmp_path / "points.csv"), *layer.as_layer_data_tuple()[:2]))
    aligned = moved(source, found, "aligned.csv")
    there = opened_in_napari(aligned)
    np.testing.assert_allclose(there.data, numbers, atol=0.01)
    assert there.features["who"].tolist() == ["anna, b."] * len(numbers)
    assert there.features["id"].tolist() == (np.arange(len(numbers)) % 5).tolist()
    back = opened_in_napari(moved(aligned, found, "back.csv", inverse=True))
    np.testing.assert_allclose(back.data, layer.data, atol=0.01)


@each_ndim
@each_motion
def test_shapes_saved_by_napari_go_and_come_back(tmp_path: Path, ndim: int, is_bent: bool) -> None:
    found, (corners, kinds) = registration(ndim, is_bent), outlines(ndim)
    layer = Shapes(corners, shape_type=kinds)
    source = Path(napari_write_shapes(str(tmp_path / "shapes.csv"), *layer.as_layer_data_tuple()[:2]))
    aligned = moved(source, found, "aligned.csv", inverse=True)
    there, back = opened_in_napari(aligned), opened_in_napari(moved(aligned, found, "back.csv"))
    same = ["polygon", "polygon", "polygon", "path", "path"] if is_bent else kinds
    assert there.shape_type == back.shape_type == same
    for outline, gone, returned, kind in zip(corners, there.data, back.data, kinds, strict=True):
        own = bendable(outline, "ellipse") if kind == "ellipse" and is_bent else outline
        # The corners go where the transform says, and come back where they were.
        for corner, place in zip(own, truth(found, own), strict=True):
            if kind != "ellipse" or not is_bent:  # a circle's points may be left out, but not the circle
                assert np.abs(gone - place).max(axis=1).min() < 0.01
                assert np.abs(returned - corner).max(axis=1).min() < 0.01
            assert _away(corner, returned, closed=kind not in ("line", "path")) < 0.3  # 0.1 each way, stretched
    if is_bent:
        assert len(there.data[1]) > 8


def _away(point: np.ndarray, outline: np.ndarray, *, closed: bool) -> float:
    """Distance from a point to an outline, sampled."""
    ends = np.roll(outline, -1, axis=0) if closed else outline[1:]
    steps = np.linspace(0, 1, 200)[:, None]
    pieces = [start + steps * (end - start) for start, end in zip(outline, ends, strict=False)]
    return float(np.linalg.norm(np.concatenate(pieces) - point, axis=1).min())


TRACKS = {
    "napari": (("track_id", "t", "z", "y", "x", "speed"), 0),
    "btrack": (("ID", "t", "x", "y", "z", "parent"), 0),
    "trackmate": (("LABEL", "TRACK_ID", "QUALITY", "POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T", "FRAME"), 2),
}


@each_ndim
@each_motion
@pytest.mark.parametrize("program", TRACKS)
def test_tracks_go_and_come_back_and_keep_their_columns(tmp_path: Path, ndim: int, is_bent: bool, program: str) -> None:
    found, numbers = registration(ndim, is_bent), marks(ndim)
    names, n_headings = TRACKS[program]
    if ndim == 2 and program == "napari":
        names = tuple(name for name in names if name != "z")
    recorded = truth(found, numbers)
    rows = [names, *(tuple(f"what {name} is" for name in names),) * n_headings]
    for number, (frame, *place) in enumerate(recorded):
        known = {"t": frame, "frame": int(frame), **dict(zip("zyx"[-ndim:], place, strict=True))}
        short = [name.lower().removeprefix("position_") if name != "POSITION_T" else "" for name in names]
        other = {"z": "0.0", "track_id": f"{number % 5}", "id": f"{number % 5}"}
        rows.append(tuple(str(known.get(name, other.get(name, f"{number}.50"))) for name in short))
    source = tmp_path / "tracks.csv"
    source.write_text("\n".join(",".join(row) for row in rows))
    aligned = io.read_marks(moved(source, found, "aligned.csv"))
    shown = [0, *range(-ndim, 0)]  # some programs say z = 0 of flat movies
    np.testing.assert_allclose(aligned.numbers[:, shown], numbers, atol=0.01)
    back = io.read_marks(moved(tmp_path / "aligned.csv", found, "back.csv", inverse=True))
    np.testing.assert_allclose(back.numbers[:, shown], recorded, atol=0.01)
    assert [",".join(each) for each in back.heading] == [",".join(row) for row in rows[: 1 + n_headings]]
    others = [place for place in range(len(names)) if place not in back.columns]
    assert others
    assert [[row[place] for place in others] for row in back.rows] == [
        [row[place] for place in others] for row in rows[1 + n_headings :]
    ]


FILES = {
    "points": "index,axis-0,axis-1,axis-2,name\n0,1,2.50,3,a\n1,0,4,5e0,\"b, c\"\n",
    "shapes": "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n0,line,0,1.0,2.50,3.0\n0,line,1,1.0,9.0,3.0\n",
    "tracks": "track_id,t,y,x\n7,0,4.0,5\n7,1,4.25,5\n",
    "keypoints": "frame;id;annotator;kind;y;x\n0;3;anna;contour;4;5\n0;3;anna;interior;4.10;5\n",
    "no header": "0,4,5.0\n1,4,5.50\n",
    "two marks of one name": "frame,id,y,x\n0,1,4,5\n0,1,6,7\n",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_does_not_move_is_written_as_it_was(tmp_path: Path, name: str) -> None:
    source = tmp_path / "marks.csv"
    source.write_text(FILES[name])
    for inverse in (False, True):
        assert moved(source, still(2), f"{inverse}.csv", inverse=inverse).read_text() == FILES[name]


def test_bigwarps_landmarks_become_keypoints_in_pixels(tmp_path: Path) -> None:
    source = tmp_path / "landmarks.csv"
    source.write_text('"Pt-0","true","2.5","4.0","2.0","3.0"\n')  # moving x, y, fixed x, y in micrometres
    grid = Grid((40, 48), (0.5, 0.25), (), ("micrometer",) * 2)
    shift = Registration(PerFrame([Identity(2), Translation([1.0, 0.5])]), grid)
    table = io.read_marks(source, spacing=grid.spacing).moved(shift)
    np.testing.assert_allclose(table.numbers, [[1, 6, 8], [0, 6, 8]])
    assert table.heading == (("frame", "id", "annotator", "kind", "y", "x"),)


def test_a_table_in_micrometres_is_moved_in_micrometres(tmp_path: Path) -> None:
    (tmp_path / "um.csv").write_text("FRAME,POSITION_X,POSITION_Y\n0,4,5\n1,4,5\n")
    grid = Grid((40, 48), (0.5, 0.25), (), ("micrometer",) * 2)
    shift = Registration(PerFrame([Identity(2), Translation([1.0, 0.5])]), grid)
    table = io.read_marks(tmp_path / "um.csv")
    np.testing.assert_allclose(table.moved(shift, spacing=(1, 1)).numbers, [[0, 5, 4], [1, 4, 3.5]])
    np.testing.assert_allclose(table.moved(shift).numbers, [[0, 5, 4], [1, 3, 2]])
    for spacing in ((1,), (1, 0)):
        with pytest.raises(ValueError, match="2 positive spacings"):
            table.moved(shift, spacing=spacing)


def test_marks_and_shapes_without_a_place_are_left_out(tmp_path: Path) -> None:
    field = torch.zeros(2, 40, 48)
    field[:, :, 30:] = torch.nan
    found = Registration(PerFrame([Displacement(field, Grid((40, 48)))]), Grid((40, 48)))
    (tmp_path / "points.csv").write_text("index,axis-0,axis-1,axis-2\n0,0,5,5\n1,0,5,40\n2,0,9,9\n")
    left = io.read_marks(moved(tmp_path / "points.csv", found, "left.csv"))
    assert [row[0] for row in left.rows] == ["0", "2"]
    lines = [np.array([[0, 5, 40], [0, 9, 40]]), np.array([[0, 5, 5], [0, 9, 5]])]
    napari_write_shapes(str(tmp_path / "shapes.csv"), lines, {"shape_type": ["path"] * 2})
    shapes = opened_in_napari(moved(tmp_path / "shapes.csv", found, "shapes_left.csv"))
    assert len(shapes.data) == 1
    np.testing.assert_allclose(shapes.data[0], [[0, 5, 5], [0, 9, 5]], atol=1e-6)


def test_of_a_path_through_several_frames_only_the_corners_move(tmp_path: Path) -> None:
    found, numbers = registration(2, is_bent=True), marks(2)[::5]
    napari_write_shapes(str(tmp_path / "path.csv"), [truth(found, numbers)], {"shape_type": ["path"]})
    (path,) = opened_in_napari(moved(tmp_path / "path.csv", found, "aligned.csv")).data
    np.testing.assert_allclose(path, numbers, atol=0.01)


def test_outline_keeps_its_corners_and_bends() -> None:
    square = np.array([[0, 0, 0], [0, 0, 40], [0, 40, 40], [0, 40, 0]], float)
    many = bendable(square, "rectangle")
    assert len(many) == 40
    np.testing.assert_array_equal(thinned(bendable(square[:2], "line")), square[:2])
    around = bendable(square, "ellipse")
    np.testing.assert_allclose(np.linalg.norm(around[:, 1:] - 20, axis=1), 20)
    curved = many.copy()
    curved[:, 1] += 5 * np.sin(curved[:, 2] / 10)
    assert 4 < len(thinned(curved)) < 40


def test_outline_along_z_keeps_its_ends_and_bends() -> None:
    upright = bendable(np.array([[0, 0, 5, 5], [0, 40, 5, 5]], float), "line")
    np.testing.assert_array_equal(thinned(upright), upright[[0, -1]])
    bent = upright.copy()
    bent[:, 1] += 3 * np.sin(bent[:, 1] / 5) * (bent[:, 1] < 20)
    bent[:, 2] += np.arange(len(bent))
    assert 2 < len(thinned(bent)) < len(bent)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; expected napari's points"),
        ("track_id,t,y,x\n", "header but no marks"),
        ("well,dose\nA1,5\n", r"has the columns well, dose; expected napari's points .* tracks \(track_id, t, y, x\)"),
        ("index,axis-0,axis-1\n0,1,2\n", "has the columns index, axis-0, axis-1; expected"),
        ("index,vertex-index,axis-0,axis-1,axis-2\n0,0,1,2,3\n", "but no shape-type"),
        (
            "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n0,star,0,1,2,3\n",
            "shape 0 is a 'star', expected one of ellipse",
        ),
        ("index,shape-type,vertex-index,axis-0,axis-1,axis-2\n0,ellipse,0,1,2,3\n", "has 1 corners in a row, expected 4"),
        ("0,0,1,2,3\n", "Add a header line, e.g. track_id,t,z,y,x"),
        ("track_id,t,y,x\n0,0,1\n", "line 2: expected 4 columns, got 3"),
        ("track_id,t,y,x\n0,0,here,2\n", "line 2: expected a number for y in column 3, got 'here'"),
        ("track_id,t,y,x\n0,0.5,1,2\n", "line 2: expected a frame number"),
        ("track_id,t,y,x\n0,3,1,2\n", "Expected marks in the 3 frames that were registered, got frame 3; frames count from 0"),
        ("track_id,t,z,y,x\n0,0,4,1,2\n", "Expected marks with 2 coordinates, as the transforms have axes, got 3"),
    ],
)
def test_tables_that_cannot_be_moved_are_told(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "marks.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        io.read_marks(tmp_path / "marks.csv").moved(still(2))
