"""Starts: what a person knows before a registration, and registrations that go on from there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_denoisereg as dr
from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Translation
from napari_denoisereg.pipeline import Pipeline
from napari_denoisereg.register import Registration
from napari_denoisereg.stack import Stack
from napari_denoisereg.starts import as_start, from_affine, from_keypoints
from napari_denoisereg.steps import Progress, Steps, finish

GRID = Grid((48, 64), (0.5, 0.25), (10.0, -20.0), ("micrometer",) * 2)
MARKS = np.array([[5, 5], [40, 6], [8, 55], [38, 50], [20, 30], [30, 20]], float)


def marked(shift: float = 2.0, frames: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Keypoints:
    number = np.repeat(frames, len(MARKS))
    position = np.concatenate([MARKS + np.array([shift * frame, -frame]) for frame in frames])
    return Keypoints(number, np.tile(np.arange(len(MARKS)), len(frames)), position)


@pytest.mark.parametrize("kind", ["translation", "rigid", "similarity", "affine", "thin_plate"])
@pytest.mark.parametrize("frames", [(0, 1, 2, 3, 4), (0, 2, 4), (0, 4)])
def test_keypoints_tell_the_motion_in_world_units(kind: str, frames: tuple[int, ...]) -> None:
    found = from_keypoints(marked(frames=frames), GRID, 5, kind).registration  # type: ignore[arg-type]
    world = MARKS * GRID.spacing + GRID.origin
    for frame in range(5):
        wanted = (MARKS + np.array([2.0 * frame, -frame])) * GRID.spacing + GRID.origin
        np.testing.assert_allclose(found.points(frame, world), wanted, atol=2e-3)
    assert found.transforms[0].is_identity


def test_misplaced_mark_is_named_and_left_out() -> None:
    points = marked()
    places = points.position.copy()
    places[(points.frame == 3) & (points.id == 2)] += 15
    found = from_keypoints(Keypoints(points.frame, points.id, places), GRID, 5, "affine")
    assert found.misplaced == ((3, 2),)
    np.testing.assert_allclose(found.registration.transforms[3].matrix()[:2, 2], [3.0, -0.75], atol=1e-9)


def test_keypoints_that_tell_too_little_are_refused() -> None:
    with pytest.raises(ValueError, match="first frame"):
        from_keypoints(marked(frames=(1, 2)), GRID, 5)
    with pytest.raises(ValueError, match=r"Frame 1: .* needs at least 3 pairs"):
        from_keypoints(marked().where(marked().id < 2), GRID, 5, "affine")
    with pytest.raises(ValueError, match="3 coordinates"):
        from_keypoints(marked(), Grid((4, 5, 6)), 5)


def test_affine_of_a_layer_holds_from_a_frame_on() -> None:
    matrix = np.eye(3)
    matrix[:2, 2] = (3, -4)  # the layer was dragged by this much to lie right
    start = from_affine(matrix, GRID, 5, first_frame=3)
    assert [transform.is_identity for transform in start.transforms] == [True, True, True, False, False]
    np.testing.assert_allclose(start.transforms[4].matrix()[:2, 2], [-3, 4])
    with pytest.raises(ValueError, match="from 1 to 4"):
        from_affine(matrix, GRID, 5, first_frame=5)
    with pytest.raises(ValueError, match="Expected a matrix"):
        from_affine(np.eye(4), GRID, 5)


def test_start_is_seen_from_the_first_frame() -> None:
    stack = Stack(np.zeros((3, 8, 8)), axes="tyx")
    start = as_start([Translation([1, 1]), Translation([1, 3]), Translation([0, 0])], stack)
    assert start[0].is_identity
    assert [each.matrix()[:2, 2].tolist() for each in start[1:]] == [[0, 2], [-1, -1]]
    with pytest.raises(ValueError, match="3 frames"):
        as_start([Identity(2)] * 2, stack)
    with pytest.raises(TypeError, match="got str"):
        as_start("affine", stack)  # type: ignore[arg-type]


def jumping_movie(rng: np.random.Generator) -> tuple[Stack, np.ndarray]:
    """Blobs that jump by half the image between frames: descent alone does not find them."""
    shifts = np.array([(0, 0), (14, -18), (-15, 17), (16, 15)], float)
    base = ndimage.gaussian_filter(rng.normal(size=(128, 128)), 3)
    frames = [ndimage.shift(base, shift, order=1)[32:96, 32:96] for shift in shifts]
    return Stack(np.stack(frames).astype(np.float32), axes="tyx", spacing=(1, 0.5, 0.5)), shifts


def never_again(stack: Stack, found: PerFrame, *_: object, **__: object) -> Steps[tuple[PerFrame, dict[int, str]]]:
    """Lost frames stay lost."""
    yield Progress(1, 1)
    return found, {}


@pytest.mark.parametrize("is_bent", [False, True])
def test_registration_goes_on_from_the_start(rng: np.random.Generator, is_bent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, shifts = jumping_movie(rng)
    rough = [Translation((shift * 0.5 + (0.8 if shift.any() else 0.0)).tolist()) for shift in shifts]
    start = PerFrame([each.to_displacement(stack.grid) for each in rough] if is_bent else rough)
    middle = np.array([[16.0, 16.0]])

    def error(registration: Registration) -> float:
        return max(
            float(np.abs(registration.points(frame, middle) - middle - shifts[frame] * 0.5).max()) / 0.5 for frame in range(4)
        )

    with monkeypatch.context() as patch:  # without a start, and without the retry that would find one, it is lost
        patch.setattr("napari_denoisereg.register.stacks.retry", never_again)
        with pytest.warns(UserWarning, match="may have failed"):
            assert error(dr.register(stack, "affine")) > 5
    found = dr.register(stack, "affine", start=start)
    assert error(found) < 0.3
    assert error(dr.run(stack, Pipeline(registrars=("affine",)), start=Registration(start, stack.grid)).registration) < 0.3


def test_unfitting_start_is_refused_before_any_work() -> None:
    stack = Stack(np.random.default_rng(0).normal(size=(3, 16, 16)), axes="tyx")
    steps = Pipeline(registrars=("affine",)).run(stack, start=[Identity(2)] * 2)
    with pytest.raises(ValueError, match="Expected a start of 3 frames"):
        next(steps)


@pytest.mark.parametrize("ndim", [2, 3])
def test_inverse_at_points_and_places(tmp_path: Path, ndim: int) -> None:
    grid = Grid((20, 24, 28)[-ndim:], (2.0, 0.5, 0.25)[-ndim:], (5.0, 1.0, -3.0)[-ndim:])
    waves = torch.stack([torch.sin(3 * axis / axis.abs().max()) for axis in grid.points()])
    field = Displacement(0.4 * waves, grid)
    registration = Registration(PerFrame([Identity(ndim), field]), grid)
    points = np.array(grid.origin) + np.random.default_rng(0).uniform(0.25, 0.75, (50, ndim)) * np.array(grid.extent)
    there = registration.points(1, points)
    assert np.abs((registration.points(1, there, inverse=True) - points) / grid.spacing).max() < 0.01
    both = registration.then(registration)
    np.testing.assert_allclose(both.points(1, points), registration.points(1, there), atol=1e-4)
    place = Affine.about(1.5 * torch.eye(ndim), torch.ones(ndim), grid.centre)
    moved = registration.seen_from(place)
    seen = (moved.points(1, points) - 0).T
    direct = registration.points(1, place(torch.from_numpy(points.T)).numpy().T)
    np.testing.assert_allclose(place(torch.from_numpy(seen)).numpy().T, direct, atol=1e-4)
    inverted = finish(registration.inverse_steps())
    assert np.abs((inverted.points(1, there) - points) / grid.spacing).max() < 0.1
    with pytest.raises(ValueError, match="same frames"):
        registration.then(Registration(PerFrame([Identity(ndim)]), grid))


def test_command_line_goes_on_from_saved_transforms(tmp_path: Path, rng: np.random.Generator) -> None:
    from napari_denoisereg import io, results
    from napari_denoisereg.cli import main

    stack, shifts = jumping_movie(rng)
    io.write(stack, tmp_path / "movie.tif")
    rough = [Translation((shift * 0.5 + 0.4).tolist()) for shift in shifts]
    io.write_transforms([Identity(2), *rough[1:]], tmp_path / "start.csv", grid=stack.grid)
    words = [
        "register",
        str(tmp_path / "movie.tif"),
        str(tmp_path / "out.zarr"),
        "--axes",
        "tyx",
        "--spacing",
        "1",
        "0.5",
        "0.5",
    ]
    assert main([*words, "--start", str(tmp_path / "start.csv"), "affine"]) == 0
    found = results.read_registration(tmp_path / "out.zarr")
    assert found.grid.spacing == (0.5, 0.5)
    for frame in range(4):
        moved = found.points(frame, np.array([[16.0, 16.0]])) - 16
        assert np.abs(moved / 0.5 - shifts[frame]).max() < 0.3
