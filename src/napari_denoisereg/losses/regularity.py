"""Regularity: the family of penalties on displacement fields. Low means well-behaved; differentiable.

Displacements and voxel spacings are in world units. Lengths are counted in voxels of the finest axis, so that every penalty
is a pure number: the same motion described in µm or in voxels costs the same, and a weight that suits one movie suits the next.

To add one: one new file in this folder with one subclass.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from napari_denoisereg.method import Method


class Regularity(Method, family="regularity"):
    """How badly behaved a displacement field is, low = well.

    Attributes
    ----------
    needs_frames : bool
        Whether it judges how frames follow each other: the fields must be those of a movie in its order.
    """

    needs_frames: ClassVar[bool] = False

    def __call__(self, displacement: Tensor, spacing: Sequence[float]) -> Tensor:
        """Judge fields item by item.

        Parameters
        ----------
        displacement : Tensor
            ``(B, D, *spatial)``, world units.
        spacing : sequence of float
            Distance of neighbouring samples along each spatial axis, world units.

        Returns
        -------
        Tensor
            ``(B,)``, a mean over the field, at least 0.
        """
        raise NotImplementedError


def slopes(field: Tensor, spacing: Sequence[float]) -> list[Tensor]:
    """Forward differences along each axis.

    Parameters
    ----------
    field : Tensor
        ``(B, C, *spatial)``.
    spacing : sequence of float
        Per axis, in the unit of the field where slopes shall be pure numbers.

    Returns
    -------
    list of Tensor
        One per axis, ``(B, C, *spatial)`` with one entry less along that axis, per unit of length.
    """
    return [field.diff(dim=axis + 2) / step for axis, step in enumerate(spacing)]


def mean_of(values: Tensor) -> Tensor:
    """Mean over all but the first axis, summed over components; 0 where there is nothing.

    Parameters
    ----------
    values : Tensor
        ``(B, C, *any)``.

    Returns
    -------
    Tensor
        ``(B,)``.
    """
    return values.sum(1).flatten(1).sum(1) / max(1, math.prod(values.shape[2:]))


def in_voxels(displacement: Tensor, spacing: Sequence[float]) -> tuple[Tensor, list[float]]:
    """Displacement and spacing in voxels of the finest axis.

    Parameters
    ----------
    displacement : Tensor
        World units.
    spacing : sequence of float
        World units.

    Returns
    -------
    tuple of Tensor and list of float
        The same lengths, counted in the smallest spacing.

    Raises
    ------
    ValueError
        When the spacing does not fit the displacement.
    """
    ndim = displacement.ndim - 2
    if len(spacing) != ndim or displacement.shape[1] != ndim:
        raise ValueError(
            f"Expected a displacement (B, D, *spatial) with D spacings, got {tuple(displacement.shape)} and {len(spacing)}."
        )
    finest = min(spacing)
    return displacement / finest, [step / finest for step in spacing]
