"""A nucleus to be turned and shifted."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from napari_denoisereg.geometry import Affine, Grid, Transform


@pytest.fixture(scope="session")
def nucleus() -> Callable[..., Tensor]:
    """A textured body with bright spots on a dark background, centred, no symmetry."""

    def make(shape: tuple[int, ...], seed: int = 0, size: float = 3.2) -> Tensor:
        random = np.random.default_rng(seed)
        places = np.indices(shape)
        radii = [s / size * (1.0 + 0.15 * axis) for axis, s in enumerate(shape)]
        body = sum(((p - (s - 1) / 2) / r) ** 2 for p, s, r in zip(places, shape, radii, strict=True)) < 1
        body = ndimage.gaussian_filter(body.astype(float), 1.5)
        noise = ndimage.gaussian_filter(random.normal(size=shape), max(shape) / 24)
        spots = np.zeros(shape)
        for _ in range(8):
            spots[tuple(int((s - 1) / 2 + random.uniform(-0.6, 0.6) * r) for s, r in zip(shape, radii, strict=True))] = 1
        spots = ndimage.gaussian_filter(spots, max(shape) / 48)
        image = 100 + 1000 * body * (1 + 0.35 * noise / noise.std() + 1.5 * spots / spots.max())
        return torch.from_numpy(image.astype(np.float32))

    return make


@pytest.fixture(scope="session")
def turned() -> Callable[..., Affine]:
    """A rotation in the plane by an angle, then a shift by a share of the size, about the middle of a grid."""

    def make(grid: Grid, degrees: float, share: tuple[float, ...] = ()) -> Affine:
        angle = np.deg2rad(degrees)
        turn = np.eye(grid.ndim)
        turn[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        shift = np.array(share or (0.0,) * grid.ndim) * np.array(grid.extent)
        return Affine.about(torch.from_numpy(turn), torch.from_numpy(shift), grid.centre)

    return make


@pytest.fixture(scope="session")
def error() -> Callable[[Transform, Transform, Grid], float]:
    """Mean distance of two transforms over the inner half of a grid, voxels of the finest axis."""

    def measure(one: Transform, other: Transform, grid: Grid) -> float:
        inner = (slice(None), *(slice(size // 4, size - size // 4) for size in grid.shape))
        points = grid.points()[inner].double()
        return float((one(points) - other(points)).norm(dim=0).mean()) / min(grid.spacing)

    return measure
