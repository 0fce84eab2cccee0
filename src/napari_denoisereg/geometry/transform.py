"""Transforms: maps of points from the fixed (output) space to the moving (input) space, in world units.

See ``geometry/__init__.py`` for the convention. Points are tensors ``(D, *any)``: the component comes first, axis order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import fields
from napari_denoisereg.geometry.grid import Grid
from napari_denoisereg.geometry.sampling import sample


@dataclass(frozen=True, eq=False)
class Transform:
    """A map of points, fixed to moving. Use one of the subclasses."""

    def __call__(self, points: Tensor) -> Tensor:
        """Map points.

        Parameters
        ----------
        points : Tensor
            ``(D, *any)``, world units of the fixed space.

        Returns
        -------
        Tensor
            Same shape and device, world units of the moving space.
        """
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        raise NotImplementedError

    @property
    def is_affine(self) -> bool:
        """Whether one matrix says it all."""
        return False

    @property
    def is_identity(self) -> bool:
        """Whether no point moves, known without sampling."""
        return False

    def linear_part(self, ndim: int) -> Tensor:
        """The global linear part.

        Parameters
        ----------
        ndim : int
            Number of spatial axes.

        Returns
        -------
        Tensor
            ``(D, D)``, float64; the identity where there is none (displacements).
        """
        return torch.eye(ndim, dtype=torch.float64)

    def inverse(self) -> "Transform":
        """The map back, moving to fixed; for displacements found numerically on their own grid.

        Returns
        -------
        Transform
            ``self.then(self.inverse())`` is the identity up to the tolerance of `fields.invert`.
        """
        raise NotImplementedError

    def then(self, other: "Transform") -> "Transform":
        """First this, then the other, on points: ``a.then(b)(x) == b(a(x))``.

        Parameters
        ----------
        other : Transform
            Applied second.

        Returns
        -------
        Transform
            Affines are merged into one matrix; other pairs become a `Sequential`.
        """
        if self.is_identity:
            return other
        if other.is_identity:
            return self
        parts = [*_parts(self), *_parts(other)]
        merged: list[Transform] = [parts[0]]
        for part in parts[1:]:
            if merged[-1].is_affine and part.is_affine:
                merged[-1] = Affine.merge(merged[-1], part)
            else:
                merged.append(part)
        return merged[0] if len(merged) == 1 else Sequential(tuple(merged))

    def displacement(self, grid: Grid, device: torch.device | str = "cpu") -> Tensor:
        """The displacement field ``u(x) = T(x) - x``.

        Parameters
        ----------
        grid : Grid
            Where to evaluate.
        device : torch.device or str
            Where to compute.

        Returns
        -------
        Tensor
            ``(D, *grid.shape)``, world units.
        """
        # In float64: far from the world's origin the difference of two float32 positions has too few digits left.
        points = grid.points(device, wide=True)
        return (self(points) - points).float()

    def to_displacement(self, grid: Grid) -> "Displacement":
        """Sample this transform on a grid.

        Parameters
        ----------
        grid : Grid
            Where to sample.

        Returns
        -------
        Displacement
            Equal at the voxel centres, linear between them.
        """
        return Displacement(self.displacement(grid), grid)

    def matrix(self) -> Tensor:
        """The homogeneous matrix of an affine transform.

        Returns
        -------
        Tensor
            ``(D+1, D+1)``, float64, world units.

        Raises
        ------
        TypeError
            When the transform is not affine.
        """
        raise TypeError(f"A {type(self).__name__} has no matrix; use displacement(grid).")


def _parts(transform: Transform) -> tuple[Transform, ...]:
    return transform.parts if isinstance(transform, Sequential) else (transform,)


@dataclass(frozen=True, eq=False)
class Affine(Transform):
    """``T(x) = A x + b``.

    Parameters
    ----------
    weights : Tensor
        ``(D, D+1)``, ``[A | b]``, world units; kept in float64 on the CPU.

    Raises
    ------
    ValueError
        When the shape is not ``(D, D+1)`` with D = 2 or 3, or an entry is not finite.
    """

    weights: Tensor

    def __post_init__(self) -> None:
        weights = torch.as_tensor(self.weights).detach().to("cpu", torch.float64)
        if weights.ndim != 2 or weights.shape[1] != weights.shape[0] + 1 or weights.shape[0] not in (2, 3):
            raise ValueError(f"Affine weights must be (2, 3) or (3, 4), got {tuple(weights.shape)}; drop the last matrix row.")
        if not bool(torch.isfinite(weights).all()):
            raise ValueError("Affine weights must be finite, got NaN or infinity.")
        object.__setattr__(self, "weights", weights)

    @classmethod
    def about(cls, linear: Tensor, shift: Tensor, centre: Sequence[float]) -> "Affine":
        """``T(x) = A (x - c) + c + s``: turn about a centre, then shift.

        Parameters
        ----------
        linear : Tensor
            ``(D, D)``.
        shift : Tensor
            ``(D,)``, world units.
        centre : sequence of float
            Fixed point of the linear part, world units.

        Returns
        -------
        Affine
            The transform.
        """
        linear = linear.detach().to("cpu", torch.float64)
        middle = torch.tensor(centre, dtype=torch.float64)
        offset = middle + shift.detach().to("cpu", torch.float64) - linear @ middle
        return cls(torch.cat([linear, offset[:, None]], dim=1))

    @staticmethod
    def merge(first: Transform, second: Transform) -> "Affine":
        """One matrix for two affine transforms, applied in this order.

        Parameters
        ----------
        first, second : Transform
            Affine transforms.

        Returns
        -------
        Affine
            ``second(first(x))``.
        """
        return Affine((second.matrix() @ first.matrix())[:-1])

    def __call__(self, points: Tensor) -> Tensor:
        """Map points; see `Transform`."""
        weights = self.weights.to(points.dtype) if points.device.type == "cpu" else self.weights.to(points)
        moved = weights[:, :-1] @ points.reshape(self.ndim, -1) + weights[:, -1:]
        return moved.reshape(points.shape)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return int(self.weights.shape[0])

    @property
    def is_affine(self) -> bool:
        """Always true."""
        return True

    @property
    def is_identity(self) -> bool:
        """Whether the matrix is exactly the identity."""
        return bool(torch.equal(self.weights, torch.eye(self.ndim, self.ndim + 1, dtype=torch.float64)))

    def linear_part(self, ndim: int) -> Tensor:  # noqa: ARG002 - the matrix knows
        """``A``; see `Transform`."""
        return self.weights[:, :-1]

    def matrix(self) -> Tensor:
        """Homogeneous ``(D+1, D+1)`` matrix."""
        last = torch.zeros(1, self.ndim + 1, dtype=torch.float64)
        last[0, -1] = 1.0
        return torch.cat([self.weights, last])

    def inverse(self) -> "Affine":
        """The exact inverse.

        Raises
        ------
        ValueError
            When the matrix is singular.
        """
        if abs(float(torch.linalg.det(self.weights[:, :-1]))) < 1e-12:
            raise ValueError("This affine transform flattens space and has no inverse.")
        return Affine(torch.linalg.inv(self.matrix())[:-1])


class Identity(Affine):
    """``T(x) = x``."""

    def __init__(self, ndim: int) -> None:
        super().__init__(torch.eye(ndim, ndim + 1, dtype=torch.float64))


class Translation(Affine):
    """``T(x) = x + b``.

    Parameters
    ----------
    offset : sequence of float
        ``b``, world units, axis order.
    """

    def __init__(self, offset: Sequence[float]) -> None:
        eye = torch.eye(len(offset), dtype=torch.float64)
        super().__init__(torch.cat([eye, torch.tensor(list(offset), dtype=torch.float64)[:, None]], dim=1))


@dataclass(frozen=True, eq=False)
class Displacement(Transform):
    """``T(x) = x + u(x)``, ``u`` sampled at the voxel centres of a grid, linear between them, its edge values beyond.

    Parameters
    ----------
    field : Tensor
        ``(D, *grid.shape)``, world units, float32; NaN marks "unknown".
    grid : Grid
        Where ``u`` is sampled.

    Raises
    ------
    ValueError
        When field and grid do not fit.
    """

    field: Tensor
    grid: Grid

    def __post_init__(self) -> None:
        field = torch.as_tensor(self.field).detach().float()
        if tuple(field.shape) != (self.grid.ndim, *self.grid.shape):
            raise ValueError(
                f"A displacement on a grid of shape {self.grid.shape} must have shape "
                f"{(self.grid.ndim, *self.grid.shape)} (component first), got {tuple(field.shape)}."
            )
        object.__setattr__(self, "field", field)

    def __call__(self, points: Tensor) -> Tensor:
        """Map points; see `Transform`."""
        index = self.grid.to_index(points).unsqueeze(0)
        moved = sample(self.field.to(points.device).unsqueeze(0), index, outside="edge")
        return points + moved[0].to(points.dtype)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.grid.ndim

    @property
    def is_identity(self) -> bool:
        """Whether no point moves."""
        return not bool(self.field.any())

    def inverse(self) -> "Displacement":
        """The inverse on the same grid, NaN where there is none (folds, points that leave the grid are clamped)."""
        return Displacement(fields.invert(self.field, self.grid), self.grid)


@dataclass(frozen=True, eq=False)
class Sequential(Transform):
    """Several transforms, the first applied first. Made by `Transform.then`.

    Parameters
    ----------
    parts : tuple of Transform
        At least one.
    """

    parts: tuple[Transform, ...]

    def __call__(self, points: Tensor) -> Tensor:
        """Map points; see `Transform`."""
        for part in self.parts:
            points = part(points)
        return points

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.parts[0].ndim

    @property
    def is_affine(self) -> bool:
        """Whether every part is."""
        return all(part.is_affine for part in self.parts)

    def matrix(self) -> Tensor:
        """Product of the parts' matrices.

        Raises
        ------
        TypeError
            When a part is not affine.
        """
        product = self.parts[0].matrix()
        for part in self.parts[1:]:
            product = part.matrix() @ product
        return product

    def linear_part(self, ndim: int) -> Tensor:
        """Product of the parts' linear parts."""
        product = torch.eye(ndim, dtype=torch.float64)
        for part in self.parts:
            product = part.linear_part(ndim) @ product
        return product

    def inverse(self) -> Transform:
        """The inverses in reverse order."""
        inverse: Transform = self.parts[-1].inverse()
        for part in reversed(self.parts[:-1]):
            inverse = inverse.then(part.inverse())
        return inverse
