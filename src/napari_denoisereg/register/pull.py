"""Pull: landmarks as a part of what affine descent goes down on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.register.registrar import Anchors


@dataclass(frozen=True, eq=False)
class Pull:
    """Landmarks as a soft term: half the weight times the mean squared misfit is taken from the correlation.

    Parameters
    ----------
    anchors : sequence of Anchors
        One per pair.
    weight : float
        Per px².
    px : float
        World units in one px.
    """

    anchors: Sequence[Anchors]
    weight: float
    px: float

    def cost(self, matrices: Tensor) -> Tensor:
        """What is taken from the correlation of each pair.

        Parameters
        ----------
        matrices : Tensor
            ``(B, D+1, D+1)``, fixed to moving, world units, float64.

        Returns
        -------
        Tensor
            ``(B,)``, float64.
        """
        gaps = [self._gap(each, matrix) for each, matrix in zip(self.anchors, matrices, strict=True)]
        squares = [gap.square().sum(0).mean() if gap.numel() else gap.sum() for gap in gaps]
        return 0.5 * self.weight * torch.stack(squares)

    def slopes(self, matrices: Tensor, generators: Tensor, place: tuple[Tensor, float]) -> tuple[Tensor, Tensor]:
        """Its share of the normal equations, per voxel.

        Parameters
        ----------
        matrices : Tensor
            ``(B, D+1, D+1)``, fixed to moving, world units, float64.
        generators, place
            See `velocity`.

        Returns
        -------
        tuple of Tensor, Tensor
            ``(B, P, P)`` and ``(B, P)``, float64.
        """
        normal = torch.zeros(len(matrices), len(generators), len(generators), dtype=torch.float64)
        right = torch.zeros(len(matrices), len(generators), dtype=torch.float64)
        for number, (each, matrix) in enumerate(zip(self.anchors, matrices, strict=True)):
            if len(each.fixed):
                moves = torch.einsum("ij,pjk->pik", matrix[:-1, :-1], velocity(generators, place, each.fixed.T)) / self.px
                share = self.weight / len(each.fixed)
                normal[number] = share * torch.einsum("pik,qik->pq", moves, moves)
                right[number] = share * torch.einsum("pik,ik->p", moves, self._gap(each, matrix))
        return normal, right

    def _gap(self, anchors: Anchors, matrix: Tensor) -> Tensor:
        """From where the transform puts landmarks to where they are: ``(D, K)``, px."""
        return (anchors.moving.T - matrix[:-1, :-1] @ anchors.fixed.T - matrix[:-1, -1:]) / self.px


def velocity(generators: Tensor, place: tuple[Tensor, float], points: Tensor) -> Tensor:
    """Velocity of points under every generator.

    Parameters
    ----------
    generators : Tensor
        ``(P, D+1, D+1)``, of small motions in local coordinates.
    place : tuple of Tensor and float
        Where the local coordinates have their origin, and their unit, in world units.
    points : Tensor
        ``(D, N)``, world units.

    Returns
    -------
    Tensor
        ``(P, D, N)``, world units.
    """
    centre, scale = place
    local = (points - centre.to(points)[:, None]) / scale
    padded = torch.cat([local, torch.ones_like(local[:1])])
    return torch.einsum("pij,jn->pin", generators[:, :-1].to(points), padded) * scale
