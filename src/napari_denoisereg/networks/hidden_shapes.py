"""Blind spots larger than a voxel, for noise that neighbouring voxels share.

Around every voxel that the network has to predict a shape is hidden: a box, where noise is alike in all directions (a camera's
interpolation, deconvolution), or a piece of a line, where a detector's rows or columns have noise in common. The loss counts
the voxel in the middle only: of the others in the shape some neighbours can be seen.

References
----------
structN2V, doi:10.1109/ISBIWorkshops50223.2020.9153428 (the shapes). N2V2, doi:10.1007/978-3-031-25069-9_33 (mean and median).
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_denoisereg.networks.blind_spot import Masked

Lines = Literal["none", "horizontal", "vertical"]
Replacement = Literal["neighbour", "mean", "median"]
MOST_HIDDEN = 1 / 3
"""Share of the voxels that shapes may cover together: the network needs the others to predict from."""
DRAWS = 16
"""Voxels drawn around a hidden one, to replace it by the first, their mean or their median."""


@dataclass(frozen=True)
class Shape:
    """What is hidden around a voxel.

    Parameters
    ----------
    ndim : int
        Spatial axes.
    box : int
        Side of the hidden box, odd, voxels.
    lines : {"none", "horizontal", "vertical"}
        Along which axis of a plane a piece of a line is hidden too.
    length : int
        Of that piece, odd, voxels.
    """

    ndim: int
    box: int = 1
    lines: Lines = "none"
    length: int = 1

    @property
    def boxes(self) -> list[tuple[int, ...]]:
        """Boxes that the shape is made of, as radii per axis."""
        boxes = [(self.box // 2,) * self.ndim]
        if self.lines != "none":
            axis = self.ndim - (1 if self.lines == "horizontal" else 2)
            boxes.append(tuple(self.length // 2 if number == axis else 0 for number in range(self.ndim)))
        return boxes

    def covered(self, places: Tensor) -> Tensor:
        """Voxels of the shapes around places.

        Parameters
        ----------
        places : Tensor
            ``(B, 1, *spatial)``, bool.

        Returns
        -------
        Tensor
            Same shape, bool.
        """
        pool = {2: F.max_pool2d, 3: F.max_pool3d}[self.ndim]
        marks = places.float()
        widened = [pool(marks, [2 * radius + 1 for radius in box], 1, list(box)) for box in self.boxes]
        return torch.stack(widened).amax(0) > 0

    @property
    def size(self) -> int:
        """Voxels of the shape."""
        marks = torch.zeros(1, 1, *(2 * max(each) + 1 for each in zip(*self.boxes, strict=True)))
        marks[(0, 0, *(length // 2 for length in marks.shape[2:]))] = 1
        return int(self.covered(marks > 0).sum())


def hide_shapes(
    image: Tensor, shape: Shape, *, share: float, radius: int, replacement: Replacement, generator: torch.Generator
) -> Masked:
    """Hide shapes around randomly chosen voxels; what replaces hidden voxels comes from voxels that are not hidden.

    Parameters
    ----------
    image : Tensor
        ``(B, 1, *spatial)``; exact zeros are padding.
    shape : Shape
        What is hidden.
    share : float
        Part of the voxels to predict; less where the shapes would hide more than `MOST_HIDDEN` in all.
    radius : int
        What replaces a voxel is at most so far from the shape, voxels along each axis.
    replacement : {"neighbour", "mean", "median"}
        One of the visible voxels around, or the mean or the median of some.
    generator : torch.Generator
        On the image's device.

    Returns
    -------
    Masked
        The image with replaced shapes; the mask is true in their middles. A voxel with nothing visible around becomes 0, the
        mean of a standardised image.
    """
    draw = torch.rand(image.shape, device=image.device, generator=generator)
    is_image = image != 0
    mask = (draw < min(share, MOST_HIDDEN / shape.size)) & is_image
    hidden = shape.covered(mask)
    places = (hidden & is_image).nonzero()
    around = _around(places, shape, radius, generator)
    sides = torch.tensor(image.shape[2:], device=image.device)
    is_inside = ((around >= 0) & (around < sides)).all(-1)
    around = around.clamp(min=0).minimum(sides - 1)
    index = (places[:, None, 0].expand(is_inside.shape), torch.zeros_like(around[..., 0]), *around.unbind(-1))
    is_visible = is_inside & (is_image & ~hidden)[index]
    result = image.clone()
    result[tuple(places.T)] = _replaced(image[index], is_visible, replacement)
    return Masked(result, mask)


def _around(places: Tensor, shape: Shape, radius: int, generator: torch.Generator) -> Tensor:
    """Voxels drawn around hidden ones, ``(N, DRAWS, D)``: beyond the box, and beside the line, which is nearer than its end."""
    reach = radius + 2 * (shape.box // 2)
    offsets = torch.randint(-reach, reach + 1, (len(places), DRAWS, shape.ndim), device=places.device, generator=generator)
    return places[:, None, 2:] + offsets


def _replaced(values: Tensor, is_visible: Tensor, replacement: Replacement) -> Tensor:
    """One value for each hidden voxel, from the drawn ones ``(N, DRAWS)`` that are visible."""
    if replacement == "neighbour":
        first = is_visible.float().argmax(1, keepdim=True)
        return torch.where(is_visible.any(1), values.gather(1, first).squeeze(1), 0)
    known = values.masked_fill(~is_visible, torch.nan)
    return (known.nanmean(1) if replacement == "mean" else known.nanmedian(1).values).nan_to_num(0)
