"""Where things are. The convention of this project.

A Transform T maps a point of the fixed (output) space to the point of the moving (input) space whose value belongs there:
``warped(x) = moving(T(x))``. A Displacement stores ``u`` with ``T(x) = x + u(x)``, sampled at the centres of its Grid's
voxels, as a tensor ``(D, *spatial)``; component ``i`` moves along spatial axis ``i`` (z, y, x for a volume); values are in
the Grid's world units; NaN marks "unknown". ``a.then(b)`` means first a, then b, on points: ``a.then(b)(x) = b(a(x))``,
hence ``warp(image, a.then(b)) == warp(warp(image, b), a)``. A keypoint p of the fixed image is found in the moving image at
``T(p)``. napari places layers the other way round (data to world), so ``widgets/layers.py`` uses ``T.inverse()``.

It equals OME-NGFF's ``displacements`` up to the place of the component axis. `conventions` converts to everybody else.
"""

from napari_denoisereg.geometry.fields import compose, invert, jacobian, jacobian_determinant
from napari_denoisereg.geometry.grid import Grid
from napari_denoisereg.geometry.per_frame import PerFrame
from napari_denoisereg.geometry.preimage import preimage
from napari_denoisereg.geometry.sampling import Interpolation, antialias, inside, sample, smooth
from napari_denoisereg.geometry.transform import (
    Affine,
    Displacement,
    Identity,
    Sequential,
    Transform,
    Translation,
)
from napari_denoisereg.geometry.unfolding import unfolded
from napari_denoisereg.geometry.warp import affine_index, affine_points, resample, warp

__all__ = [
    "Affine",
    "Displacement",
    "Grid",
    "Identity",
    "Interpolation",
    "PerFrame",
    "Sequential",
    "Transform",
    "Translation",
    "affine_index",
    "affine_points",
    "antialias",
    "compose",
    "inside",
    "invert",
    "jacobian",
    "jacobian_determinant",
    "preimage",
    "resample",
    "sample",
    "smooth",
    "unfolded",
    "warp",
]
