"""Consensus: bend all frames of a movie at once so that they agree best with what the other frames predict.

Every frame is split into bands of detail. In one band let ``W`` be the warped frames (one row each) and ``C`` their
covariance over the voxels. Where frames are alike up to noise they are jointly Gaussian, and their likelihood is

    E = ½ Σ_x W(x)ᵀ C⁻¹ W(x),      of which ``(C⁻¹ W)_t / (C⁻¹)_tt`` is frame t minus its best prediction from the others.

So a specimen that rests is compared with the mean of all frames, one that renews its texture with its neighbours in time,
noise weighs what it is worth, bleaching does not matter: the movie itself says how, in each band, because C is estimated from
the warped frames and re-estimated as they fall into place. Where predictions fail (something moves on its own) voxels count
less. Displacements are cubic B-splines; bending them and jerking them in time costs. The energy is minimised by Gauss-Newton
steps on all frames together. The common deformation of all frames stays free and is composed away by the caller.

References
----------
Guyader et al. 2018, Groupwise multichannel image registration (total correlation), doi:10.1038/s41598-018-31474-7, of which
this is the local form. Burt and Adelson 1983 (bands), doi:10.1109/TCOM.1983.1095851.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, inside, resample, sample, smooth
from napari_denoisereg.register.lattice import Lattice, along_axes, bending, bending_spectrum, gather, spread

UNIT = 16.0  # px: stiffness is counted for lengths of this size
LEAST_NOISE = 1e-4  # of a band's variance: frames that are equal to the last digit must not weigh infinitely
AROUND = 2.0  # voxels of a band over which the reliability of a place is averaged
MOST_RELIABLE = 4.0  # times the usual
CONJUGATE_STEPS = 60


@dataclass(frozen=True)
class Band:
    """Detail of one size of all frames.

    Parameters
    ----------
    frames : Tensor
        ``(T, 1, *grid.shape)``.
    grid : Grid
        In px: voxels of the finest axis, voxel 0 at 0.
    factor : int
        Reduction of the resolution.
    """

    frames: Tensor
    grid: Grid
    factor: int


@dataclass(frozen=True)
class Costs:
    """What the motion costs.

    Parameters
    ----------
    stiffness : float
        Of bending, see `UNIT`.
    steadiness : float
        Of acceleration in time, per px^D.
    numbers : tuple of int
        Frame numbers: only frames that follow each other are held together in time.
    """

    stiffness: float
    steadiness: float
    numbers: tuple[int, ...]

    def temporal(self) -> Tensor:
        """Matrix of the sum of squared second differences over frames that follow each other: ``(T, T)``, float64."""
        total = torch.zeros(len(self.numbers), len(self.numbers), dtype=torch.float64)
        for t in range(1, len(self.numbers) - 1):
            if self.numbers[t + 1] - self.numbers[t] == 1 == self.numbers[t] - self.numbers[t - 1]:
                row = torch.zeros(len(self.numbers), dtype=torch.float64)
                row[t - 1 : t + 2] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
                total += row[:, None] * row
        return total


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
    """

    pull: Tensor
    slope: Tensor
    precision: Tensor


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
    """

    def __init__(self, found: Sequence[Band], lattice: Lattice, affine: Tensor, coefficients: Tensor) -> None:
        where = found[0].frames.device
        self.bands = list(found)
        self.lattice = lattice
        self.affine = affine.to(where, torch.float32)
        self.coefficients = coefficients.to(where)
        self._bases = {band.factor: lattice.bases(band.grid, where) for band in found}
        self._reliable = dict[int, Tensor]()

    def step(self, factor: int, costs: Costs, free: Tensor) -> float:
        """One Gauss-Newton step on all bands from a resolution upwards.

        Parameters
        ----------
        factor : int
            Finest band to look at.
        costs : Costs
            Of the motion.
        free : Tensor
            ``(T,)``, bool: which frames may move.

        Returns
        -------
        float
            How far a node moved at most, px.
        """
        forces = [self._force(band) for band in self.bands if band.factor >= factor]
        change = _solve(forces, self.coefficients, self.lattice, costs, free)
        largest = change.abs().flatten(1).amax(1).clamp(min=1e-12)
        # Slopes are known nearby only: no frame moves further than the voxels that are looked at.
        change = change * (factor / largest).clamp(max=1.0).reshape(-1, *(1,) * (change.ndim - 1))
        self.coefficients = self.coefficients + change
        self._absorb(torch.stack([force.slope.diagonal(dim1=0, dim2=1).sum(-1) for force in forces]).sum(0), free)
        return float(change.abs().max())

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
        precision = torch.linalg.inv(covariance + noise * torch.eye(count, dtype=torch.float64, device=rows.device)).float()
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
        return Force(pull, slope.reshape(band.grid.ndim, band.grid.ndim, *slope.shape[1:]), precision)

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

    def _absorb(self, information: Tensor, free: Tensor) -> None:
        """Hand the affine part of the bending to the affine transforms: neither bending nor time may hold it back."""
        ndim = len(self.lattice.shape)
        nodes = self.lattice.nodes(information.device).flatten(1).double()
        weight = information.flatten().double() + 1e-6 * information.max().double().clamp(min=1e-12)
        design = torch.cat([nodes, torch.ones_like(nodes[:1])])
        normal = (design * weight) @ design.T
        right = torch.einsum("tin,kn->tik", self.coefficients.flatten(2).double() * weight, design)
        part = torch.linalg.solve(normal, right.transpose(1, 2)).transpose(1, 2)
        part = part * free.to(part)[:, None, None]
        grown = torch.eye(ndim, dtype=part.dtype, device=part.device) + part[:, :, :-1]
        rest = self.coefficients.flatten(2).double() - part @ design
        self.coefficients = (torch.linalg.inv(grown) @ rest).float().reshape(self.coefficients.shape)
        affine = self.affine.double()
        shift = (affine[:, :, :-1] @ part[:, :, -1:]) + affine[:, :, -1:]
        self.affine = torch.cat([affine[:, :, :-1] @ grown, shift], dim=2).float()


def shrink(frames: Tensor, grid: Grid, factor: int) -> Tensor:
    """Frames of mean 0 and variance 1 at the resolution of a band.

    Parameters
    ----------
    frames : Tensor
        ``(T, *grid.shape)``, any scale.
    grid : Grid
        In px.
    factor : int
        Reduction.

    Returns
    -------
    Tensor
        ``(T, *small)``, float32.
    """
    std, mean = torch.std_mean(frames.flatten(1).double(), dim=1, correction=0)
    shape = (-1, *(1,) * grid.ndim)
    even = ((frames - mean.reshape(shape)) / std.clamp(min=1e-300).reshape(shape)).float()
    return resample(even.unsqueeze(1), grid, _shrunk(grid, factor))[:, 0]


def bands(frames: Tensor, grid: Grid, finest: int, coarsest: int) -> list[Band]:
    """Split frames into bands of detail; each band has half the resolution of the one before, the last keeps the rest.

    Parameters
    ----------
    frames : Tensor
        ``(T, *small)``, of `shrink` by ``finest``.
    grid : Grid
        Of the frames at full resolution, in px.
    finest, coarsest : int
        Reductions of the first and the last band, powers of 2.

    Returns
    -------
    list of Band
        Fine to coarse.
    """
    images, place, found, factor = frames.unsqueeze(1), _shrunk(grid, finest), list[Band](), finest
    while factor < coarsest:
        small = _shrunk(grid, 2 * factor)
        # An axis that does not shrink keeps its detail for the next band.
        shrinking = [1.0 if large > 1.5 * own else 0.0 for large, own in zip(small.spacing, place.spacing, strict=True)]
        found.append(Band(images - smooth(images, shrinking), place, factor))
        images, place, factor = resample(images, place, small), small, 2 * factor
    rest = images - images.mean(dim=tuple(range(2, images.ndim)), keepdim=True)
    return [*found, Band(rest, place, factor)]


def _shrunk(grid: Grid, factor: int) -> Grid:
    return grid.coarser(_factors(grid, factor))


def _factors(grid: Grid, factor: int) -> list[float]:
    """Reduction of each axis: one of coarse voxels shrinks only once the others have become as coarse, a short one little."""
    each = [max(1.0, factor / step) for step in grid.spacing]
    return [min(f, n / 4) if n >= 8 else 1.0 for f, n in zip(each, grid.shape, strict=True)]


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


def _solve(forces: Sequence[Force], present: Tensor, lattice: Lattice, costs: Costs, free: Tensor) -> Tensor:
    """The Gauss-Newton step ``(T, D, *nodes)``: conjugate gradients, preconditioned for a specimen of even texture."""
    where, ndim = present.device, len(lattice.shape)
    stiff, temporal = costs.stiffness * UNIT**2, (costs.temporal() * costs.steadiness * lattice.cell).to(where).float()
    keep = free.to(where).float().reshape(-1, *(1,) * (ndim + 1))

    def resist(motion: Tensor) -> Tensor:
        return stiff * bending(motion, lattice) + torch.einsum("ts,s...->t...", temporal, motion)

    mean_slope = [float(force.slope.diagonal(dim1=0, dim2=1).mean()) for force in forces]
    typical = torch.stack([s * force.precision.double().cpu() for s, force in zip(mean_slope, forces, strict=True)]).sum(0)
    damping = 1e-3 * float(typical.diagonal().mean()) + 1e-12

    def curvature(motion: Tensor) -> Tensor:
        total = resist(motion) + damping * motion
        for force in forces:
            seen = torch.einsum("ij...,tj...->ti...", force.slope, motion)
            total = total + torch.einsum("ts,s...->t...", force.precision, seen)
        return keep * total

    waves, energy = bending_spectrum(lattice, where)
    rates, modes = torch.linalg.eigh(typical + temporal.double().cpu())
    modes, rates = modes.float().to(where), rates.float().to(where).clamp(min=damping).reshape(-1, 1, *(1,) * ndim)

    def precondition(residual: Tensor) -> Tensor:
        flat = along_axes(torch.einsum("st,s...->t...", modes, residual), waves) / (rates + stiff * energy)
        return keep * torch.einsum("ts,s...->t...", modes, along_axes(flat, tuple(wave.T for wave in waves)))

    pull = keep * (torch.stack([force.pull for force in forces]).sum(0) - resist(present))
    return _conjugate_gradients(curvature, precondition, pull)


def _conjugate_gradients(
    curvature: Callable[[Tensor], Tensor], precondition: Callable[[Tensor], Tensor], right: Tensor
) -> Tensor:
    """Solve ``curvature(x) = right`` nearly."""
    found, residual = torch.zeros_like(right), right
    direction = change = precondition(residual)
    power = (residual * change).sum()
    for _ in range(CONJUGATE_STEPS):
        if float(power) <= 0 or float(residual.norm()) <= 1e-2 * float(right.norm()):
            break
        bent = curvature(direction)
        length = power / (direction * bent).sum()
        found, residual = found + length * direction, residual - length * bent
        change = precondition(residual)
        power, before = (residual * change).sum(), power
        direction = change + power / before * direction
    return found
