"""Consensus: bend all frames of a movie at once so that they agree best with what the other frames predict.

Every frame is split into bands of detail. In one band let ``W`` be the warped frames (one row each) and ``C`` their
covariance over the voxels. Where frames are alike up to noise they are jointly Gaussian, and their likelihood is

    E = ½ Σ_x W(x)ᵀ C⁻¹ W(x),      of which ``(C⁻¹ W)_t / (C⁻¹)_tt`` is frame t minus its best prediction from the others.

So a specimen that rests is compared with the mean of all frames, one that renews its texture with its neighbours in time,
noise weighs what it is worth, bleaching does not matter: the movie itself says how, in each band, because C is estimated from
the warped frames and re-estimated as they fall into place. Where predictions fail (something moves on its own) voxels count
less. Displacements are cubic B-splines; bending them and jerking them in time costs. The energy is minimised by Gauss-Newton
steps on all frames together. The common deformation of all frames stays free and is composed away by the caller.

Frames must not share their noise. Those that were denoised by averaging neighbours along a motion do: C⁻¹ takes what they
share for the specimen, and they confirm the motion they were averaged along. Averaging is what the prediction does anyway.

References
----------
Guyader et al. 2018, Groupwise multichannel image registration (total correlation), doi:10.1038/s41598-018-31474-7, of which
this is the local form.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, inside, sample, smooth
from napari_denoisereg.register.bands import Band
from napari_denoisereg.register.lattice import Lattice, along_axes, bending_spectrum, gather, spread
from napari_denoisereg.register.marks import Hold, Marks
from napari_denoisereg.register.resistance import Costs, Resistance, Straight, over_time

LEAST_NOISE = 1e-4  # of a band's variance: frames that are equal to the last digit must not weigh infinitely
AROUND = 2.0  # voxels of a band over which the reliability of a place is averaged
MOST_RELIABLE = 4.0  # times the usual
CONJUGATE_STEPS = 120
LEAST_STEPS = 12
"""The former divided by the reduction, not fewer than these. Measured on generated movies: at half resolution 16 instead of 60
cost 0.06 px on hard ones; at a quarter 12 are as good as 60."""
MARKED_STEPS = 300  # marks pull on single nodes, which the preconditioner knows nothing of
DAMPING = 1e-3  # Levenberg-Marquardt, relative, as long as steps help
TOLERATED = 1.0  # by which a frame's logarithmic misfit may rise in a step: less is the coming and going of a good descent


@dataclass(frozen=True)
class Force:
    """What one band says about the motion.

    Parameters
    ----------
    pull : Tensor
        Minus the gradient of the energy, ``(T, D, *nodes)``.
    slope : Tensor
        Products of the image's slopes around every node, ``(D, D, *nodes)``.
    precision : Tensor
        ``C⁻¹``, ``(T, T)``.
    unexplained : Tensor
        Share of every frame's variance that the others do not predict, ``(T,)``, float64, CPU.
    """

    pull: Tensor
    slope: Tensor
    precision: Tensor
    unexplained: Tensor


@dataclass(frozen=True)
class _State:
    """Where the frames were before a step, and how well they fitted there."""

    factor: int
    affine: Tensor
    coefficients: Tensor
    unexplained: Tensor


class Consensus:
    """Frames, where they are, and how they bend.

    Parameters
    ----------
    found : sequence of Band
        Of all frames, fine to coarse; see `bands`.
    lattice : Lattice
        Of the splines.
    affine : Tensor
        ``(T, D, D+1)``: from the common space to each frame, px.
    coefficients : Tensor
        ``(T, D, *lattice.shape)``: the bending before the affine transforms, px.
    costs : Costs
        Of the motion.
    free : Tensor
        ``(T,)``, bool: which frames may move.
    marks : Marks, optional
        Landmarks.
    """

    def __init__(  # noqa: PLR0913 - what a group-wise registration is made of
        self,
        found: Sequence[Band],
        lattice: Lattice,
        affine: Tensor,
        coefficients: Tensor,
        costs: Costs,
        free: Tensor,
        marks: Marks | None = None,
    ) -> None:
        where = found[0].frames.device
        self.bands = list(found)
        self.lattice = lattice
        self.affine = affine.to(where, torch.float32)
        self.coefficients = coefficients.to(where)
        self._costs, self._free, self._marks = costs, free, marks
        self._bases = {band.factor: lattice.bases(band.grid, where) for band in found}
        self._reliable = dict[int, Tensor]()
        self._damping = torch.full((len(affine),), DAMPING, dtype=torch.float64)
        self._before: _State | None = None

    def step(self, factor: int) -> float:
        """One Gauss-Newton step on all bands from a resolution upwards.

        Parameters
        ----------
        factor : int
            Finest band to look at.

        Returns
        -------
        float
            How far a node moved at most, px.
        """
        forces = self.settle(factor)
        damping = torch.where(self._free, self._damping, torch.inf)
        straight = Straight(_worth(forces), self.lattice)
        hold = self._hold()
        resist, most = Resistance(self.lattice, self._costs, straight), max(LEAST_STEPS, CONJUGATE_STEPS // factor)
        change = _solve(forces, self.coefficients, resist, damping, most if hold is None else MARKED_STEPS, hold)
        largest = change.abs().flatten(1).amax(1).clamp(min=1e-12)
        if hold is not None:
            largest = largest.max().expand_as(largest)  # frames that meet at marks go on meeting there
        # Slopes are known nearby only: no frame moves further than the voxels that are looked at.
        change = change * (factor / largest).clamp(max=1.0).reshape(-1, *(1,) * (change.ndim - 1))
        self.coefficients = self.coefficients + change
        self._absorb(straight)
        return float(change.abs().max())

    def settle(self, factor: int) -> list[Force]:
        """Take back the last step of the frames that fit worse than before it; they will take smaller ones.

        Parameters
        ----------
        factor : int
            Finest band to look at.

        Returns
        -------
        list of Force
            What the bands say about the motion now.
        """
        forces = [self._force(band) for band in self.bands if band.factor >= factor]
        unexplained = self._badness(forces)
        before = self._before
        if before is not None and before.factor == factor:
            worse = self._free & (unexplained > before.unexplained + TOLERATED)
            self._damping = torch.where(worse, self._damping * 10, (self._damping / 4).clamp(min=DAMPING))
            if bool(worse.any()):
                which = worse.to(self.affine.device)
                self.affine = torch.where(which.reshape(-1, 1, 1), before.affine, self.affine)
                bent = which.reshape(-1, *(1,) * (self.coefficients.ndim - 1))
                self.coefficients = torch.where(bent, before.coefficients, self.coefficients)
                forces = [self._force(band) for band in self.bands if band.factor >= factor]
                unexplained = self._badness(forces)
        self._before = _State(factor, self.affine, self.coefficients, unexplained)
        return forces

    def _hold(self) -> Hold | None:
        return None if self._marks is None else self._marks.hold(self.affine, self.coefficients, self.lattice)

    def _badness(self, forces: Sequence[Force]) -> Tensor:
        """How badly every frame fits, the images and the marks, ``(T,)``."""
        hold = self._hold()
        return _unexplained(forces) if hold is None else _unexplained(forces) + hold.misfit()

    def _force(self, band: Band) -> Force:
        count = len(band.frames)
        warped, seen = self._warped(band)
        often = seen.sum(0)
        usual = (warped * seen).sum(0) / often.clamp(min=1)
        warped = torch.where(seen > 0, warped, usual)
        weight = self._reliable.get(band.factor, torch.ones_like(usual)) * (often > 0.5 * count)
        rows = warped.flatten(1)
        covariance = ((rows * weight.flatten()) @ rows.T / weight.sum().clamp(min=1)).double()
        noise = LEAST_NOISE * covariance.diagonal().mean().clamp(min=1e-12)
        covariance = covariance + noise * torch.eye(count, dtype=torch.float64, device=rows.device)
        inverse = torch.linalg.inv(covariance)
        unexplained = (1 / (inverse.diagonal() * covariance.diagonal())).cpu()
        precision = inverse.float()
        surprise = (precision @ rows).view_as(warped)
        own = precision.diagonal().reshape(-1, *(1,) * (warped.ndim - 1))
        self._reliable[band.factor] = _reliability((surprise**2 / own).mean(0))
        predicted = warped - surprise / own
        slopes = _slopes(predicted, band.grid)
        bases = self._bases[band.factor]
        pull = gather(slopes * (-surprise * weight * seen).unsqueeze(1), bases)
        products = torch.stack(
            [(slopes[:, i] * slopes[:, j]).mean(0) for i in range(band.grid.ndim) for j in range(band.grid.ndim)]
        )
        slope = gather(products * weight, bases)
        slope = slope.reshape(band.grid.ndim, band.grid.ndim, *slope.shape[1:])
        return Force(pull, slope, precision, unexplained)

    def _warped(self, band: Band) -> tuple[Tensor, Tensor]:
        """The warped frames and where they are seen, both ``(T, *grid.shape)``."""
        places = band.grid.points(band.frames.device) + spread(self.coefficients, self._bases[band.factor])
        moved = torch.einsum("tij,tj...->ti...", self.affine[:, :, :-1], places)
        moved = moved + self.affine[:, :, -1].reshape(*moved.shape[:2], *(1,) * band.grid.ndim)
        spacing, origin = (
            torch.tensor(values, device=moved.device).reshape(1, -1, *(1,) * band.grid.ndim)
            for values in (band.grid.spacing, band.grid.origin)
        )
        index = (moved - origin) / spacing
        return sample(band.frames, index)[:, 0], inside(index, band.grid.shape).float()

    def _absorb(self, straight: Straight) -> None:
        """Hand the affine part of the bending to the affine transforms: neither bending nor time may hold it back."""
        part = straight.part(self.coefficients).double() * self._free.to(self.affine.device)[:, None, None]
        grown = torch.eye(part.shape[1], dtype=part.dtype, device=part.device) + part[:, :, :-1]
        rest = self.coefficients.flatten(2).double() - part @ straight.design.double()
        self.coefficients = (torch.linalg.inv(grown) @ rest).float().reshape(self.coefficients.shape)
        affine = self.affine.double()
        shift = (affine[:, :, :-1] @ part[:, :, -1:]) + affine[:, :, -1:]
        self.affine = torch.cat([affine[:, :, :-1] @ grown, shift], dim=2).float()


def _slopes(images: Tensor, grid: Grid) -> Tensor:
    """Derivatives ``(T, D, *shape)`` per px; none along an axis of one voxel."""
    return torch.stack(
        [
            torch.gradient(images, spacing=step, dim=axis + 1)[0] if images.shape[axis + 1] > 1 else torch.zeros_like(images)
            for axis, step in enumerate(grid.spacing)
        ],
        dim=1,
    )


def _reliability(misfit: Tensor) -> Tensor:
    """Weight of every place from how badly it is predicted, relative to the usual: ``misfit`` is about 1 where it is usual."""
    return (1 / (smooth(misfit[None, None], AROUND)[0, 0] + 1e-3)).clamp(max=MOST_RELIABLE)


def _worth(forces: Sequence[Force]) -> Tensor:
    """How much there is to see around every node, ``(*nodes)``."""
    return torch.stack([force.slope.diagonal(dim1=0, dim2=1).sum(-1) for force in forces]).sum(0)


def _unexplained(forces: Sequence[Force]) -> Tensor:
    """Logarithm of what is unexplained, summed over bands, ``(T,)``: coarse bands tell first that a frame gets lost."""
    return torch.stack([force.unexplained.log() for force in forces]).sum(0)


def _solve(
    forces: Sequence[Force], present: Tensor, resist: Resistance, damping: Tensor, most: int, hold: Hold | None
) -> Tensor:
    """The Gauss-Newton step ``(T, D, *nodes)``: conjugate gradients, preconditioned for a specimen of even texture.

    At most so many of them. ``damping`` ``(T,)`` is relative to what the images say; where it is infinite a frame holds still.
    """
    where, ndim = present.device, present.shape[1]
    keep = torch.isfinite(damping).to(where).float().reshape(-1, *(1,) * (ndim + 1))
    mean_slope = [float(force.slope.diagonal(dim1=0, dim2=1).mean()) for force in forces]
    typical = torch.stack([s * force.precision.double().cpu() for s, force in zip(mean_slope, forces, strict=True)]).sum(0)
    damped = torch.nan_to_num(damping, posinf=DAMPING) * typical.diagonal().mean() + 1e-12
    held = damped.to(where, torch.float32).reshape(keep.shape)
    # What the images of a frame say, all nodes together, is what marks are weighed against.
    image = float(typical.diagonal().mean()) * math.prod(resist.lattice.shape)

    def curvature(motion: Tensor) -> Tensor:
        total = resist(motion) + held * motion
        for force in forces:
            # Row by row of the slopes: three times as fast as one einsum over both indices.
            seen = torch.stack([(row * motion).sum(1) for row in force.slope], dim=1)
            total = total + over_time(force.precision, seen)
        return keep * (total if hold is None else total + image * hold.curvature(motion))

    # In the waves of the lattice the mean curvature is, for each wave, data + energy * bend: both made diagonal at once.
    waves, energy = bending_spectrum(resist.lattice, where)
    data = typical + resist.jerk + torch.diag(damped)
    root = torch.linalg.inv(torch.linalg.cholesky(data))
    rates, modes = torch.linalg.eigh(root @ resist.bend @ root.T)
    modes = (modes.T @ root).to(where, torch.float32)
    rates = 1 + rates.to(where, torch.float32).clamp(min=0).reshape(-1, 1, *(1,) * ndim) * energy

    def precondition(residual: Tensor) -> Tensor:
        flat = along_axes(over_time(modes, residual), waves) / rates
        return keep * over_time(modes.T, along_axes(flat, tuple(wave.T for wave in waves)))

    pull = torch.stack([force.pull for force in forces]).sum(0) - resist(present)
    pull = keep * (pull if hold is None else pull + image * hold.pull())
    return _conjugate_gradients(curvature, precondition, pull, most)


def _conjugate_gradients(
    curvature: Callable[[Tensor], Tensor], precondition: Callable[[Tensor], Tensor], right: Tensor, most: int
) -> Tensor:
    """Solve ``curvature(x) = right`` nearly, in so many steps at most."""
    found, residual = torch.zeros_like(right), right
    direction = change = precondition(residual)
    power = (residual * change).sum()
    for _ in range(most):
        if float(power) <= 0 or float(residual.norm()) <= 1e-2 * float(right.norm()):
            break
        bent = curvature(direction)
        length = power / (direction * bent).sum()
        found, residual = found + length * direction, residual - length * bent
        change = precondition(residual)
        power, before = (residual * change).sum(), power
        direction = change + power / before * direction
    return found
