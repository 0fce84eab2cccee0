"""Marks: landmarks as a soft term of a group-wise registration.

Every frame carries its marks back to the common space, to ``y``: the place that its motion takes to the mark. Marks of one
landmark should meet there, wherever that is, so what is minimised besides the images' term is

    strength Σ_landmarks Σ_frames |y - mean over frames of y|²

which needs no frame to be the right one. A motion that grows by ``δu`` near a mark moves ``y`` by about ``-δu``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.register.lattice import Bases, Lattice

STEPS_BACK = 30
"""Fixed-point steps that carry a mark back: bendings are gentle, each halves the error at least."""

CLOSE = 0.05
"""px: marks that are nearer to each other meet, however much they count."""


@dataclass(frozen=True, eq=False)
class Hold:
    """What marks say about the motion where the frames are now.

    Parameters
    ----------
    gaps : Tensor
        From where marks of a landmark meet to each of them, in the common space: ``(T, K, D)``, px; 0 where there is none.
    seen : Tensor
        Which landmarks are marked in which frame, ``(T, K, 1)``, 0 or 1.
    bases : tuple of Tensor
        Weight of every node at every mark, ``(T, K, nodes)`` per axis.
    weight : float
        How much a misfit counts against the images.
    """

    gaps: Tensor
    seen: Tensor
    bases: Bases
    weight: float

    def misfit(self) -> Tensor:
        """How badly marks of each frame meet, in the units of a logarithmic misfit: ``(T,)``, float64, CPU."""
        squares = self.gaps.square().sum((1, 2)) / self.seen.sum((1, 2)).clamp(min=1)
        return torch.log1p(min(self.weight, 1 / CLOSE**2) * squares).double().cpu()

    def pull(self) -> Tensor:
        """Minus half the gradient: ``(T, D, *nodes)``."""
        return self._gather(self.gaps)

    def curvature(self, motion: Tensor) -> Tensor:
        """Half the change of the gradient with the motion ``(T, D, *nodes)``: same shape."""
        moved = values_at(motion, self.bases) * self.seen
        return self._gather(centred(moved, self.seen))

    def _gather(self, values: Tensor) -> Tensor:
        """The adjoint of `values_at`, weighted: marks of all landmarks together count as much as the images do."""
        nodes, weighted = "abc"[: len(self.bases)], values * (self.weight / self.seen.sum(1).mean().clamp(min=1e-6))
        return torch.einsum(f"tkd,{','.join('tk' + n for n in nodes)}->td{nodes}", weighted, *self.bases)


class Marks:
    """Marked places of some frames.

    Parameters
    ----------
    places : Tensor
        ``(T, K, D)``, px; not a number where a landmark is not marked.
    weight : float
        How much all marks of a frame count against its image: at 1, a misfit of 1 px counts as much as a shift by 1 px.
    """

    def __init__(self, places: Tensor, weight: float) -> None:
        both = torch.isfinite(places).all(-1).sum(0) > 1  # a single mark says nothing
        self._places, self._weight = places[:, both], weight

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that could be held together."""
        return self._places.shape[1] == 0 or self._weight == 0

    def hold(self, affine: Tensor, coefficients: Tensor, lattice: Lattice) -> Hold:
        """Carry all marks back.

        Parameters
        ----------
        affine, coefficients : Tensor
            See `Consensus`.
        lattice : Lattice
            Of the coefficients.

        Returns
        -------
        Hold
            On the device of the coefficients.
        """
        places = self._places.to(affine.device, torch.float64)
        seen = torch.isfinite(places).all(-1, keepdim=True)
        straight = affine.double()
        unmoved = torch.nan_to_num(places).transpose(1, 2) - straight[:, :, -1:]
        target = torch.linalg.solve(straight[:, :, :-1], unmoved).transpose(1, 2).float()
        back = target
        for _ in range(STEPS_BACK):
            back = target - values_at(coefficients, weights_at(back, lattice))
        shown = seen.float()
        return Hold(centred(back * shown, shown), shown, weights_at(back, lattice), self._weight)


def centred(values: Tensor, seen: Tensor) -> Tensor:
    """Values less their mean over the frames that show them.

    Parameters
    ----------
    values : Tensor
        ``(T, K, D)``, 0 where not seen.
    seen : Tensor
        ``(T, K, 1)``, 0 or 1.

    Returns
    -------
    Tensor
        Same shape, 0 where not seen.
    """
    return (values - values.sum(0) / seen.sum(0).clamp(min=1)) * seen


def weights_at(points: Tensor, lattice: Lattice) -> Bases:
    """Weight of every node at points; beyond the lattice as at its border.

    Parameters
    ----------
    points : Tensor
        ``(T, K, D)``, px.
    lattice : Lattice
        Of the nodes.

    Returns
    -------
    tuple of Tensor
        ``(T, K, nodes)`` per axis.
    """
    found = []
    for axis, (count, step) in enumerate(zip(lattice.shape, lattice.steps, strict=True)):
        place = (points[..., axis] / step).clamp(0, count - 3)
        found.append(lattice.weights(place, count))
    return tuple(found)


def values_at(coefficients: Tensor, bases: Sequence[Tensor]) -> Tensor:
    """Values of splines at points.

    Parameters
    ----------
    coefficients : Tensor
        ``(T, D, *nodes)``.
    bases : sequence of Tensor
        Of `weights_at`.

    Returns
    -------
    Tensor
        ``(T, K, D)``.
    """
    nodes = "abc"[: len(bases)]
    return torch.einsum(f"td{nodes},{','.join('tk' + n for n in nodes)}->tkd", coefficients, *bases)
