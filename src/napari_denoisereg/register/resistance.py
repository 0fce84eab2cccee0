"""Resistance: what it costs to bend the frames of a movie, in space and in time.

Affine motion costs nothing. Which part of a spline is affine is a matter of convention, so costs in time, too, look only at the
rest: a stage may jerk, a specimen may not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.register.lattice import Bending, Lattice

UNIT = 16.0  # px: stiffness is counted for lengths of this size
WHOLE = 0.03  # of the stiffness holds for the whole bending, the rest for its change from frame to frame


@dataclass(frozen=True)
class Costs:
    """What the motion costs.

    Parameters
    ----------
    stiffness : float
        Of bending, see `UNIT`.
    steadiness : float
        Of jerking (second differences in time), per px^D.
    numbers : tuple of int
        Frame numbers: only frames that follow each other are held together in time.
    """

    stiffness: float
    steadiness: float
    numbers: tuple[int, ...]

    def jerk(self) -> Tensor:
        """Matrix of the sum of squared second differences over frames that follow each other: ``(T, T)``, float64."""
        return self._differences([1.0, -2.0, 1.0])

    def bend(self) -> Tensor:
        """Matrix of what is bent: chiefly how a frame differs from the one before, and a little the whole: ``(T, T)``, float64.

        A specimen that bends far in many frames bends little in each: costs of the whole would hold it back.
        """
        return self._differences([-1.0, 1.0]) + WHOLE * torch.eye(len(self.numbers), dtype=torch.float64)

    def _differences(self, kernel: list[float]) -> Tensor:
        count, length = len(self.numbers), len(kernel)
        total = torch.zeros(count, count, dtype=torch.float64)
        for first in range(count - length + 1):
            if self.numbers[first + length - 1] - self.numbers[first] == length - 1:
                row = torch.zeros(count, dtype=torch.float64)
                row[first : first + length] = torch.tensor(kernel, dtype=torch.float64)
                total += row[:, None] * row
        return total


class Straight:
    """What of a spline is affine, judged where there is something to see.

    Parameters
    ----------
    worth : Tensor
        How much there is to see around every node, ``(*nodes)``.
    lattice : Lattice
        The nodes.

    Attributes
    ----------
    design : Tensor
        ``(D+1, nodes)``: an affine map ``(D, D+1)`` times this is its values at the nodes, which are its coefficients too.
    """

    def __init__(self, worth: Tensor, lattice: Lattice) -> None:
        nodes, weight = lattice.nodes(worth.device).flatten(1).double(), worth.flatten().double()
        design = torch.cat([nodes, torch.ones_like(nodes[:1])])
        weighted = design * (weight + 1e-6 * weight.max().clamp(min=1e-12))
        self.design, self._fit = design.float(), torch.linalg.solve(weighted @ design.T, weighted).float()

    def part(self, coefficients: Tensor) -> Tensor:
        """Affine maps ``(T, D, D+1)`` next to splines ``(T, D, *nodes)``."""
        return coefficients.flatten(2) @ self._fit.T

    def rest(self, coefficients: Tensor) -> Tensor:
        """Splines without their affine part."""
        flat = coefficients.flatten(2)
        return (flat - (flat @ self._fit.T) @ self.design).reshape(coefficients.shape)

    def rest_adjoint(self, coefficients: Tensor) -> Tensor:
        """The adjoint of `rest`."""
        flat = coefficients.flatten(2)
        return (flat - (flat @ self.design.T) @ self._fit).reshape(coefficients.shape)


class Resistance:
    """What the motion costs, as half the gradient of a quadratic form.

    Parameters
    ----------
    lattice : Lattice
        Of the splines.
    costs : Costs
        The weights.
    straight : Straight
        Tells what is affine.

    Attributes
    ----------
    lattice : Lattice
        As given.
    jerk, bend : Tensor
        The weighted matrices of `Costs`, ``(T, T)``, float64, CPU.
    """

    def __init__(self, lattice: Lattice, costs: Costs, straight: Straight) -> None:
        self.lattice, self._straight = lattice, straight
        self._bending = Bending(lattice, straight.design.device)
        self.jerk, self.bend = costs.jerk() * costs.steadiness * lattice.cell, costs.bend() * costs.stiffness * UNIT**2

    def __call__(self, motion: Tensor) -> Tensor:
        """Half the gradient of the costs.

        Parameters
        ----------
        motion : Tensor
            Splines ``(T, D, *nodes)``.

        Returns
        -------
        Tensor
            ``(T, D, *nodes)``.
        """
        jerky, bent = (matrix.to(motion.device, torch.float32) for matrix in (self.jerk, self.bend))
        # Affine motion may jerk: a stage does. Its share of a spline is a matter of convention and must cost nothing.
        jerked = self._straight.rest_adjoint(over_time(jerky, self._straight.rest(motion)))
        return jerked + over_time(bent, self._bending(motion))


def over_time(matrix: Tensor, motion: Tensor) -> Tensor:
    """Mix frames.

    Parameters
    ----------
    matrix : Tensor
        ``(S, T)``.
    motion : Tensor
        ``(T, D, *nodes)``.

    Returns
    -------
    Tensor
        ``(S, D, *nodes)``.
    """
    return torch.einsum("ts,s...->t...", matrix, motion)
