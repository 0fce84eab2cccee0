"""Pose survives any rotation and shifts of half the image."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_denoisereg.geometry import Affine, Grid, Identity, Translation, warp
from napari_denoisereg.register.pose import Pose
from napari_denoisereg.register.search import rotations, search, small_grid
from napari_denoisereg.steps import finish

GRID = Grid((112, 112), (0.5, 0.5), (100.0, -50.0))


def noisy(image: torch.Tensor, seed: int, noise: float = 80.0) -> torch.Tensor:
    return image + noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("degrees", [180, -90, 137, 0, 3.3])
@pytest.mark.parametrize("share", [(0.0, 0.0), (0.12, -0.08)])
def test_any_rotation_is_recovered(
    degrees: float, share: tuple[float, float], nucleus: Callable, turned: Callable, error: Callable
) -> None:
    moving = nucleus(GRID.shape)
    wanted = turned(GRID, degrees, share)
    fixed = warp(moving, wanted, fixed=GRID, outside=100.0)
    (found,) = finish(Pose().align(noisy(fixed, 1)[None], noisy(moving, 2)[None], GRID))
    assert error(found, wanted, GRID) < 0.5


@pytest.mark.parametrize("motion", ["translation", "rigid"])
@pytest.mark.parametrize("share", [(0.5, 0.0), (0.0, -0.5), (0.35, 0.35)])
def test_shifts_of_half_the_image_are_recovered(
    share: tuple[float, float], motion: str, nucleus: Callable, error: Callable
) -> None:
    """Both cameras see a part of a large specimen; half of what one sees the other sees too."""
    large = nucleus((224, 224), size=2.0)
    voxels = [round(part * 112) for part in share]
    fixed = large[56:168, 56:168]
    moving = large[56 + voxels[0] : 168 + voxels[0], 56 + voxels[1] : 168 + voxels[1]]
    wanted = Translation([-0.5 * voxel for voxel in voxels])
    (found,) = finish(Pose(motion=motion).align(noisy(fixed, 1)[None], noisy(moving, 2)[None], GRID))
    assert error(found, wanted, GRID) < 0.5


def test_similarity_finds_a_change_of_size_as_well(nucleus: Callable, turned: Callable, error: Callable) -> None:
    moving = nucleus(GRID.shape)
    turn = turned(GRID, 60, (0.05, 0.0))
    wanted = Affine.about(torch.eye(2) * 1.08, torch.zeros(2), GRID.centre).then(turn)
    fixed = warp(moving, wanted, fixed=GRID, outside=100.0)
    (found,) = finish(Pose(motion="similarity", finest=1).align(fixed[None], moving[None], GRID))
    assert error(found, wanted, GRID) < 0.5
    (rigid,) = finish(Pose(motion="rigid").align(fixed[None], moving[None], GRID))
    linear = rigid.weights[:, :-1]
    torch.testing.assert_close(linear @ linear.T, torch.eye(2, dtype=torch.float64), atol=1e-8, rtol=0)


def test_a_turned_volume_is_recovered_in_the_plane(nucleus: Callable, turned: Callable, error: Callable) -> None:
    grid = Grid((12, 64, 64), (2.0, 0.5, 0.5))
    moving = nucleus(grid.shape)
    wanted = turned(grid, 150, (0.0, 0.05, -0.1))
    fixed = warp(moving, wanted, fixed=grid, outside=100.0)
    (found,) = finish(Pose(side=32).align(noisy(fixed, 1)[None], noisy(moving, 2)[None], grid))
    assert error(found, wanted, grid) < 0.7


@pytest.mark.slow
def test_a_volume_turned_in_space_is_recovered(nucleus: Callable, error: Callable) -> None:
    grid = Grid((32, 32, 32))
    moving = nucleus(grid.shape, size=2.8)
    angle, tilt = np.deg2rad(70), np.deg2rad(100)
    about_x = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    about_z = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    wanted = Affine.about(torch.from_numpy(about_x @ about_z), torch.tensor([1.0, -2.0, 1.5]), grid.centre)
    fixed = warp(moving, wanted, fixed=grid, outside=100.0)
    method = Pose(directions="all", side=16, finest=1, candidates=6)
    (found,) = finish(method.align(fixed[None], moving[None], grid))
    assert error(found, wanted, grid) < 0.7


def test_in_heavy_noise_the_pose_known_before_is_kept(nucleus: Callable, error: Callable) -> None:
    image = nucleus(GRID.shape)
    fixed, moving = (noisy(image, seed, noise=1500.0) for seed in (1, 2))
    (found,) = finish(Pose().align(fixed[None], moving[None], GRID, start=[Identity(2)]))
    assert error(found, Identity(2), GRID) < 3


@pytest.mark.parametrize(("ndim", "in_plane", "count"), [(2, True, 12), (3, True, 12), (3, False, 12 * 46)])
def test_rotations_are_rotations_and_begin_with_none(ndim: int, in_plane: bool, count: int) -> None:
    turns = rotations(ndim, 30.0, in_plane=in_plane)
    assert len(turns) == count
    assert torch.equal(turns[0], torch.eye(ndim, dtype=torch.float64))
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(ndim, dtype=torch.float64).expand_as(turns))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(count, dtype=torch.float64))
    flat = turns.flatten(1)
    gaps = torch.cdist(flat, flat) + 10 * torch.eye(count, dtype=torch.float64)
    assert float(gaps.min()) > 0.2
    if not in_plane:  # any rotation has a neighbour at most about a step away
        random = np.random.default_rng(0)
        quaternion = random.normal(size=(50, 4))
        from scipy.spatial.transform import Rotation

        somewhere = torch.from_numpy(Rotation.from_quat(quaternion).as_matrix())
        trace = torch.einsum("aij,bij->ab", somewhere, turns)
        nearest = torch.rad2deg(torch.arccos(((trace - 1) / 2).clamp(-1, 1))).amin(dim=1)
        assert float(nearest.max()) < 32


def test_search_gives_the_best_candidate_first(nucleus: Callable, turned: Callable, error: Callable) -> None:
    moving = nucleus(GRID.shape)
    wanted = turned(GRID, 90, (0.1, 0.0))
    fixed = warp(moving, wanted, fixed=GRID, outside=100.0)
    found = search(fixed[None], moving[None], GRID, rotations(2, 15.0), side=48, keep=3)
    assert found.weights.shape == (1, 3, 2, 3)
    assert float(found.scores.diff(dim=1).max()) <= 0
    assert error(Affine(found.weights[0, 0]), wanted, GRID) < 5


def test_small_grid_has_equal_steps_and_never_finer_ones() -> None:
    small = small_grid(Grid((10, 100, 200), (5.0, 1.0, 1.0)), 50)
    assert small.spacing == (5.0, 4.0, 4.0)
    assert small_grid(Grid((10, 10)), 50).shape == (10, 10)


def test_identity_is_known_where_nothing_else_is(nucleus: Callable, error: Callable) -> None:
    image = nucleus((64, 64))
    (found,) = finish(Pose().align(image[None], image[None], Grid((64, 64))))
    assert error(found, Identity(2), Grid((64, 64))) < 0.05
