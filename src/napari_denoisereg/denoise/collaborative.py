"""Collaborative filtering: similar patches of a frame are denoised together: the same structure with fresh noise.

Cells, vesicles and fibres repeat themselves within a frame. For every reference patch the most similar ones around it are
looked up in a *pilot*, a first denoised frame, and stacked; a cosine transform over both axes of the patch and over the stack
gathers what they have in common in few waves. The pilot also says how strong each wave is, so that the Wiener rule
``s² / (s² + 1)`` keeps the ones above the noise. All estimates of a pixel are averaged, the surest count most.

Large patches see faint structure in strong noise, small ones are sharper. So this is done twice: with large patches first, and
with small ones on a pilot that is the mean of the first pilot and the result (measured on real pairs: 0.1 to 0.2 dB).

Not from the paper: the pilot comes from elsewhere (there it is a first pass of the same kind with a hard threshold), the two
sizes, and the third transform, a cosine transform, so that any number of patches will do. Intensities must be
variance-stabilised (`noise.NoiseModel.stabilise`): noise has a standard deviation of 1 everywhere.

References
----------
Dabov et al. 2007, doi:10.1109/TIP.2007.901238 (BM3D, second step). Lebrun 2012, doi:10.5201/ipol.2012.l-bm3d.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg.denoise.cosine_patches import cosines

LARGE, SMALL = (12, 6), (8, 4)  # pixels: side of patches, and from one reference patch to the next
NEAR, FAR = 3, 16  # pixels: patches are looked for everywhere so near, at every other place so far
BAND, CHUNK = 32, 1024  # rows of reference patches matched, reference patches filtered at a time: bounds memory
OUTSIDE = 1e9  # standard deviations of the noise: nothing outside the frame is similar
SHAPE_OF_WINDOW = 2.0  # Kaiser's β: borders of a patch count less


def collaborate(noisy: Tensor, pilot: Tensor, *, similar: int = 16, strength: float = 1.0) -> Tensor:
    """Denoise a frame by groups of similar patches.

    Parameters
    ----------
    noisy : Tensor
        ``(y, x)``, stabilised: noise of standard deviation 1.
    pilot : Tensor
        ``(y, x)``, a first denoised version, stabilised alike.
    similar : int
        Patches in a group, twice as many small ones; fewer where a small frame has not as many.
    strength : float
        Factor to the variance of the noise.

    Returns
    -------
    Tensor
        ``(y, x)``, stabilised.
    """
    first = _once(noisy, pilot, *LARGE, similar, strength)
    return _once(noisy, (first + pilot) / 2, *SMALL, 2 * similar, strength)


def _once(noisy: Tensor, pilot: Tensor, side: int, step: int, similar: int, strength: float) -> Tensor:
    shape, side = noisy.shape, min(side, *noisy.shape)
    below, right = ((side - length) % step for length in shape)
    both = F.pad(torch.stack([noisy, pilot])[None], (0, right, 0, below), mode="replicate")[0]
    patches = both.unfold(1, side, 1).unfold(2, side, 1)
    group = _Group(side, strength, both.device)
    inside = torch.arange(side, device=both.device)
    inside = inside[:, None] * both.shape[2] + inside
    sums = both.new_zeros(2, both[0].numel())
    for places in _alike(both[1], side, step, similar):
        rows, columns = places // both.shape[2], places % both.shape[2]
        values, weights = group.filtered(patches[0, rows, columns], patches[1, rows, columns])
        pixels = (places[..., None, None] + inside).flatten()
        sums[0].index_add_(0, pixels, (values * weights).flatten())
        sums[1].index_add_(0, pixels, weights.expand_as(values).flatten())
    return (sums[0] / sums[1]).reshape(both[0].shape)[: shape[0], : shape[1]]


@dataclass(frozen=True)
class _Group:
    """Filters groups of patches."""

    side: int
    strength: float
    device: torch.device

    def filtered(self, noisy: Tensor, pilot: Tensor) -> tuple[Tensor, Tensor]:
        """Estimates of all pixels of patches ``(n, similar, side, side)``, and weights that broadcast with them."""
        within, across = cosines(self.side).to(self.device), cosines(noisy.shape[1]).to(self.device)
        power = self._waves(pilot, within, across).square()
        kept = power / (power + self.strength).clamp(min=1e-30)
        kept[:, 0, 0, 0] = 1  # the mean of all
        waves = self._waves(noisy, within, across) * kept
        clean = torch.einsum("na...,ak->nk...", within.T @ waves @ within, across)
        window = torch.kaiser_window(self.side, periodic=False, beta=SHAPE_OF_WINDOW, device=self.device)
        sure = 1 / kept.square().sum((1, 2, 3))
        return clean, sure[:, None, None, None] * window[:, None] * window

    @staticmethod
    def _waves(patches: Tensor, within: Tensor, across: Tensor) -> Tensor:
        return torch.einsum("nk...,ak->na...", within @ patches @ within.T, across)


def _alike(pilot: Tensor, side: int, step: int, similar: int) -> Iterator[Tensor]:
    """First pixels (flat index) of the patches most similar to reference patches, ``(some, similar)`` at a time."""
    height, width = pilot.shape
    offsets = _offsets(pilot.device)
    wide = F.pad(pilot[None, None], (FAR,) * 4, value=OUTSIDE)[0, 0]
    columns = torch.arange(0, width - side + 1, step, device=pilot.device)
    for top in range(0, height - side + 1, BAND * step):
        bottom = min(height, top + (BAND - 1) * step + side)
        rows = torch.arange(top, bottom - side + 1, step, device=pilot.device)
        band, around = pilot[top:bottom], wide[top : bottom + 2 * FAR]
        apart = torch.stack([_apart(band, around[FAR + y :, FAR + x :], side, step) for y, x in offsets])
        apart[len(offsets) // 2] = -1  # a patch is in its own group even where others are just as alike: no pixel is left out
        count = min(similar, int((apart < OUTSIDE).sum(0).min()))
        chosen = offsets[apart.topk(count, dim=0, largest=False).indices]
        references = (rows[:, None] * width + columns).flatten()
        yield from (references + chosen[..., 0] * width + chosen[..., 1]).T.split(CHUNK)


def _apart(band: Tensor, moved: Tensor, side: int, step: int) -> Tensor:
    """Mean squared difference of every reference patch to the one at an offset."""
    squared = (band - moved[: band.shape[0], : band.shape[1]]).square()[None, None]
    rows = F.avg_pool2d(squared, (side, 1), (step, 1))
    return F.avg_pool2d(rows, (1, side), (1, step)).flatten()


def _offsets(device: torch.device) -> Tensor:
    """``(n, 2)``, rows and columns."""
    reach = torch.arange(-FAR, FAR + 1, device=device)
    every = torch.cartesian_prod(reach, reach)
    return every[(every.abs().amax(1) <= NEAR) | (every % 2 == 0).all(1)]
