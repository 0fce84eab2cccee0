"""Transforms applied to layers: everything goes where the specimen goes, attributes are kept, unfit layers are refused."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from napari.layers import Image, Labels, Layer, Points, Shapes, Surface, Tracks

from napari_denoisereg import io, results
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Transform, Translation
from napari_denoisereg.register import Registration
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.layers import METADATA_KEY
from napari_denoisereg.widgets.transforms_apply import apply
from napari_denoisereg.widgets.transforms_list import Known, found_on, known_on, saved_form
from napari_denoisereg.widgets.transforms_task import task_for

SHAPE = {2: (40, 48), 3: (8, 40, 48)}
STEP = {2: (0.5, 0.25), 3: (2.0, 0.5, 0.25)}
UNITS = {2: ("second", "um", "um"), 3: ("second", "um", "um", "um")}
LABELS = {2: ("t", "y", "x"), 3: ("t", "z", "y", "x")}
N_FRAMES = 4
each_ndim = pytest.mark.parametrize("ndim", [2, 3])
each_kind = pytest.mark.parametrize("kind", ["affine", "displacement"])


def place(ndim: int, **changes: Any) -> dict[str, Any]:
    return {"scale": (60.0, *STEP[ndim]), "units": UNITS[ndim], "axis_labels": LABELS[ndim], **changes}


def registration(ndim: int, kind: str, n_frames: int = N_FRAMES) -> Registration:
    """Turns, shifts and bends that grow with time; the same motion in every voxel size."""
    grid = Grid(SHAPE[ndim], STEP[ndim], (), ("micrometer",) * ndim)
    found: list[Transform] = [Identity(ndim)]
    for frame in range(1, n_frames):
        turn = torch.eye(ndim, dtype=torch.float64)
        turn[-2:, -2:] = torch.tensor([[1.0, -0.03 * frame], [0.03 * frame, 1.0]])
        affine = Affine.about(turn, 0.4 * frame * torch.tensor(grid.spacing), grid.centre)
        waves = torch.stack([torch.sin(3 * axis / axis.max().clamp(min=1)) for axis in grid.points()])
        bend = Displacement(0.5 * waves * torch.tensor(grid.spacing).reshape(-1, *(1,) * ndim), grid)
        found.append(affine if kind == "affine" else bend.then(affine) if frame == 2 else bend)
    return Registration(PerFrame(found), grid, history=({"register": "test"},))


def beads(ndim: int) -> np.ndarray:
    """Places in the middle of a frame, index."""
    return np.random.default_rng(1).uniform(0.3, 0.7, (6, ndim)) * np.array(SHAPE[ndim])


def in_movie(found: Registration, ndim: int) -> np.ndarray:
    """Where the beads of the first frame are in every frame ``(T, N, D)``, index."""
    step = np.array(STEP[ndim])
    return np.stack([found.points(frame, beads(ndim) * step) / step for frame in range(len(found.transforms))])


def rows(places: np.ndarray) -> np.ndarray:
    """``(T, N, D)`` to ``(T * N, 1 + D)`` with the frame in front."""
    return np.concatenate([np.column_stack([np.full(len(each), float(t)), each]) for t, each in enumerate(places)])


def movie(ndim: int, places: np.ndarray, **changes: Any) -> Image:
    """A bright bead at each place."""
    index = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE[ndim]], indexing="ij"), -1)
    frames = [
        sum(np.exp(-((index - centre) ** 2 / np.array([1.5, 4, 4][-ndim:])).sum(-1)) for centre in each) for each in places
    ]
    settings = {"name": "cells", "colormap": "magenta", "gamma": 0.8, "contrast_limits": (0, 900), "opacity": 0.5}
    return Image((1000 * np.stack(frames)).astype(np.uint16), **{**settings, **place(ndim), **changes})


def moved(layer: Layer, known: Known, *, inverse: bool = False) -> Layer:
    made = finish(apply([task_for(layer, known)], known, inverse=inverse))
    assert made.n_lost == 0
    return made.as_layers()[0]


def known_of(source: Image, found: Registration) -> Known:
    return known_on(source, found, "".join(source.axis_labels), "result")


OWN = {"name", "metadata", "shape_type"}  # of a result; shapes that are bent become polygons


def assert_same_look(before: Layer, after: Layer) -> None:
    """The result lies where its source lies and looks like it."""
    for name in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    np.testing.assert_array_equal(before.affine.affine_matrix, after.affine.affine_matrix)
    assert (before.units, before.axis_labels, before.visible) == (after.units, after.axis_labels, after.visible)
    old, new = before.as_layer_data_tuple()[1], after.as_layer_data_tuple()[1]
    for name in set(old) - OWN:
        np.testing.assert_equal(_plain(new[name]), _plain(old[name]), err_msg=name)
    assert getattr(after, "contour", 0) == getattr(before, "contour", 0)
    assert after.metadata["mine"] == 1
    assert after.metadata[METADATA_KEY]["source"] == before.name


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return value.model_dump() if hasattr(value, "model_dump") else value.dict() if hasattr(value, "dict") else value


@each_ndim
@each_kind
@pytest.mark.parametrize("turned", [False, True])
def test_everything_goes_where_the_specimen_goes(  # noqa: PLR0915 - one journey
    ndim: int, kind: str, turned: bool
) -> None:
    """Aligned, the beads of every frame lie where those of the first frame are: images, labels, points, shapes, tracks."""
    found = registration(ndim, kind)
    where = {"metadata": {"mine": 1}, "translate": (3.0, *range(5, 5 + ndim))}
    if turned:
        turn = np.eye(ndim + 2)
        turn[-3:-1, -3:-1] = [[0.8, -0.6], [0.6, 0.8]]
        where |= {"affine": turn, "rotate": np.array(turn[:-1, :-1]).T}
    places = in_movie(found, ndim)
    source = movie(ndim, places, **where)
    known = known_of(source, found)
    assert known.times == (pytest.approx(3.0), pytest.approx(60.0))

    aligned = moved(source, known)
    assert isinstance(aligned.data, da.Array)
    assert aligned.data.dtype == np.uint16
    assert_same_look(source, aligned)
    error = np.abs(np.asarray(aligned.data[3], float) - np.asarray(source.data[0], float))
    assert error.mean() < 0.15 * np.abs(source.data[3].astype(float) - source.data[0]).mean() + 2

    labels = Labels((source.data > 400).astype(np.uint16) * 7000, name="cells", **place(ndim, **where))
    labels.contour = 2
    mask = moved(labels, known)
    assert_same_look(labels, mask)
    assert set(np.unique(np.asarray(mask.data)).tolist()) <= {0, 7000}
    both = np.asarray(mask.data[3] > 0) & (labels.data[0] > 0)
    assert both.sum() > (0.7 if ndim == 2 else 0.6) * (labels.data[0] > 0).sum()

    marks = rows(places)
    settings = place(ndim, **where)
    points = Points(marks, features={"id": np.arange(len(marks))}, size=np.arange(1, len(marks) + 1), name="p", **settings)
    straight = rows(np.stack([beads(ndim)] * N_FRAMES))
    after = moved(points, known)
    assert_same_look(points, after)
    assert np.abs(after.data - straight).max() < 0.01
    assert np.abs(moved(after, known, inverse=True).data - marks).max() < 0.01

    tracks = Tracks(np.column_stack([np.tile(np.arange(6), N_FRAMES), marks]), name="way", **settings)
    tracks.features = {"speed": np.arange(len(marks))}
    after_tracks = moved(tracks, known)
    assert_same_look(tracks, after_tracks)
    order = np.lexsort((straight[:, 0], np.tile(np.arange(6), N_FRAMES)))
    assert np.abs(after_tracks.data[:, 1:] - straight[order]).max() < 0.01

    outline = np.array([np.column_stack([np.full(3, float(t)), places[t, :3]]) for t in range(N_FRAMES)])
    shapes = Shapes(list(outline), shape_type="polygon", features={"n": range(4)}, edge_width=0.3, name="s", **settings)
    after_shapes = moved(shapes, known)
    assert_same_look(shapes, after_shapes)
    for t in range(N_FRAMES):
        for corner in range(3):
            wanted = np.array([t, *beads(ndim)[corner]])
            assert np.abs(np.asarray(after_shapes.data[t]) - wanted).max(axis=1).min() < 0.15


@each_ndim
@each_kind
def test_inverse_brings_images_back(ndim: int, kind: str) -> None:
    found = registration(ndim, kind)
    source = movie(ndim, np.stack([beads(ndim)] * N_FRAMES))
    back = moved(source, known_of(source, found), inverse=True)
    wanted = movie(ndim, in_movie(found, ndim))
    assert back.name == "cells [moved back]"
    error = np.abs(np.asarray(back.data, float) - wanted.data)
    assert error.mean() < 0.2 * np.abs(source.data.astype(float) - wanted.data).mean() + 2


FORMATS = [
    ("affine", 4, "t.zarr"), ("affine", 4, "t.csv"), ("affine", 4, "folder"), ("affine", 2, "t.tfm"), ("affine", 2, "t.txt"),
    ("displacement", 4, "t.zarr"), ("displacement", 4, "folder"), ("displacement", 2, "t.nii.gz"),
    ("displacement", 2, "t.nii"), ("displacement", 2, "t.mha"), ("displacement", 2, "t.nrrd"),
]  # fmt: skip


@each_ndim
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("kind", "n_frames", "name"), FORMATS)
def test_every_file_format_keeps_coordinates_to_a_hundredth_pixel(
    tmp_path: Path, ndim: int, kind: str, n_frames: int, name: str, turned: bool
) -> None:
    """Saved, loaded and applied to points of the movie's layer: the same places as before."""
    whole = registration(ndim, kind)
    frames = whole.transforms if n_frames > 2 else whole.transforms[1:2]
    found = Registration(PerFrame(list(frames)), whole.grid)
    where: dict[str, Any] = {"translate": (0.0, 100.0, 2000.5, -7.0)[: ndim + 1]}
    if turned:
        turn = np.eye(ndim + 1)
        turn[-2:, -2:] = [[0.8, -0.6], [0.6, 0.8]]
        where["rotate"] = turn
    source = movie(ndim, np.stack([beads(ndim)] * len(frames)), **where)
    known = known_of(source, found)
    path = io.write_transforms(saved_form(known).transforms, tmp_path / name, grid=saved_form(known).grid)
    read = Known("file", results.read_registration(path))
    points = Points(rows(np.stack([beads(ndim)] * len(frames))), **place(ndim, **where))
    for inverse in (False, True):
        before = moved(points, known, inverse=inverse).data
        after = moved(points, read, inverse=inverse).data
        assert np.abs(before - after).max() < 0.01
        assert np.abs(before - points.data).max() > 0.1
    np.testing.assert_allclose(moved(source, read).data, moved(source, known).data, atol=1)


def test_other_channels_resolution_and_colours() -> None:
    found = registration(2, "affine")
    places = in_movie(found, 2)
    source = movie(2, places)
    known = known_of(source, found)
    reference = np.asarray(moved(source, known).data)
    both = np.stack([source.data, source.data], 1)
    channels = Image(both, scale=(60, 1, 0.5, 0.25), units=("s", "pixel", "um", "um"), axis_labels=("t", "c", "y", "x"))
    np.testing.assert_array_equal(moved(channels, known).data[:, 1], reference)
    fine = movie(2, places).data.repeat(2, 1).repeat(2, 2)
    half = {"scale": (60, 0.25, 0.125), "translate": (0, -0.125, -0.0625)}
    double = moved(Image(fine, **place(2, **half)), known)
    small = np.asarray(double.data[3], float).reshape(40, 2, 48, 2).mean((1, 3))
    assert np.abs(small - reference[3]).mean() < 8
    rgb = Image((np.stack([source.data] * 3, -1) / 8).astype(np.uint8), rgb=True, name="rgb", **place(2))
    shown = moved(rgb, known)
    assert shown.rgb
    assert np.abs(np.asarray(shown.data[3, ..., 1], float) - reference[3] / 8).max() < 2


def test_a_layer_that_lies_turned_is_warped_where_it_lies() -> None:
    source = movie(2, in_movie(registration(2, "affine"), 2))
    known = known_of(source, registration(2, "affine"))

    def turned(frames: Any) -> np.ndarray:
        """By a quarter; of the same shape as before, so that nothing but its place tells it from the movie."""
        return np.pad(np.rot90(np.asarray(frames), axes=(1, 2))[:, 4:44], ((0, 0), (0, 0), (0, 8)))

    place_of_pixels = np.array([[60, 0, 0, 0], [0, 0, 0.5, 0], [0, -0.25, 0, 0.25 * 43], [0, 0, 0, 1]])
    layer = Image(turned(source.data), affine=place_of_pixels, **place(2, scale=(1, 1, 1)))
    expected, found = turned(moved(source, known).data), np.asarray(moved(layer, known).data)
    assert found.shape == source.data.shape
    np.testing.assert_allclose(found[:, 2:-2, 2:36], expected[:, 2:-2, 2:36], atol=2)
    assert np.abs(found[3].astype(float) - turned(source.data)[3]).mean() > 10


def test_lazy_data_is_read_frame_by_frame_when_looked_at() -> None:
    read: list[int] = []

    def frame(block_info: Any = None) -> np.ndarray:
        read.append(block_info[None]["chunk-location"][0])
        return np.full((1, 40, 48), 7, np.uint16)

    data = da.map_blocks(frame, chunks=((1,) * 4, (40,), (48,)), dtype=np.uint16, meta=np.zeros((0, 0, 0), np.uint16))
    source = Image(data, contrast_limits=(0, 9), name="lazy", **place(2))
    known = known_of(source, registration(2, "displacement"))
    read.clear()
    made = finish(apply([task_for(source, known)], known))
    assert read == []
    assert made.layers[0][0][2].compute().max() == 7
    assert set(read) == {2}


def test_result_layers_offer_their_transforms() -> None:
    found = registration(2, "affine")
    source = movie(2, in_movie(found, 2))
    source.metadata[METADATA_KEY] = {"registration": found, "axes": "tyx"}
    (known,) = found_on([source, Points(np.zeros((1, 3)))])
    assert known.in_words == "4 frames, 2D, affine"
    assert known.registration is found


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: Image(np.zeros((5, 40, 48)), **place(2)), "5 frames, 'result' has transforms for 4"),
        (lambda: Image(np.zeros((4, 8, 40, 48)), **place(3)), "Expected the axes t, y, x"),
        (lambda: Image(np.zeros((40, 48))), "Expected the axes t, y, x"),
        (lambda: Image(np.zeros((4, 40, 48)), **place(2, units=("s", "nm", "nm"))), "is in nanometer"),
        (lambda: Image(np.zeros((4, 40, 48)), **place(2, units=("s", "pixel", "pixel"), scale=(60, 1, 1))), "is in pixel"),
        (lambda: Image(np.zeros((4, 40, 48)), **place(2, translate=(0, 500, 0))), "lies at"),
        (lambda: Points([[9, 1, 1]], **place(2)), "something in frame 9"),
        (lambda: Points([[-1, 1, 1]], **place(2)), "something in frame -1"),
        (lambda: Surface((np.zeros((3, 3)), np.array([[0, 1, 2]]))), "Surface layer"),
        (
            lambda: Image(np.zeros((4, 40, 48)), **place(2, rotate=np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]))),
            "turned",
        ),
    ],
)
def test_unfit_layers_are_refused_before_anything(layer: Any, words: str) -> None:
    found = registration(2, "affine")
    known = known_of(movie(2, in_movie(found, 2)), found)
    with pytest.raises((ValueError, TypeError), match=words):
        task_for(layer(), known)


def test_layer_without_unit_on_the_same_voxels_fits() -> None:
    found = registration(2, "affine")
    known = known_of(movie(2, in_movie(found, 2)), found)
    plain = movie(2, in_movie(found, 2), units=("pixel",) * 3, axis_labels=("-3", "-2", "-1"))
    np.testing.assert_array_equal(moved(plain, known).data, moved(movie(2, in_movie(found, 2)), known).data)


def test_points_with_no_place_are_left_out_and_counted() -> None:
    field = torch.zeros(2, 40, 48)
    field[:, :, 30:] = torch.nan
    found = Registration(PerFrame([Displacement(field, Grid((40, 48)))]), Grid((40, 48)))
    known = Known("field", found)
    points = Points([[0, 5, 5], [0, 5, 40], [0, 9, 9]], features={"id": [1, 2, 3]}, size=[1, 2, 3])
    made = finish(apply([task_for(points, known)], known))
    assert made.n_lost == 1
    left = Layer.create(*made.layers[0])
    assert left.features["id"].tolist() == [1, 3]
    assert left.size.tolist() == [1, 3]
    np.testing.assert_allclose(left.data, [[0, 5, 5], [0, 9, 9]], atol=1e-6)


def test_empty_points_and_shapes_stay_empty() -> None:
    known = Known("shift", Registration(PerFrame([Translation([1, 2])] * 3), Grid((40, 48))))
    assert len(moved(Points(np.zeros((0, 3)), ndim=3), known).data) == 0
    assert len(moved(Shapes(None, ndim=3), known).data) == 0
