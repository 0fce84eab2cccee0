"""Deep affine: a network that predicts an affine transform from two images, without denoising them.

The baseline "Deep Affine" of the DenoiseReg paper; after a denoiser it is the baseline "Deep Denoise + Deep Affine". As there,
images are standardised, their histograms matched and sometimes turned and stretched; the loss is the negative normalised
cross-correlation of de Vos et al., here in both directions. As in our DenoiseReg, frames are shrunk by block means for the
network, the step size falls, and a few Gauss-Newton steps refine the prediction (``refinement=0`` leaves the network's own).

References
----------
de Vos et al. 2019, doi:10.1016/j.media.2018.11.010. DenoiseReg (ISBI 2022), section 3.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg import device as devices
from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.geometry import Grid, affine_points, inside, sample
from napari_denoisereg.losses import Similarity
from napari_denoisereg.losses.correlation import Correlation
from napari_denoisereg.method import setting
from napari_denoisereg.networks.blind_spot import augment
from napari_denoisereg.networks.deep_affine import DeepAffineNet
from napari_denoisereg.networks.denoisereg import to_world
from napari_denoisereg.register.affine_network import HELD_OUT, STRIDE, AffineNetworkRegistrar, standardised
from napari_denoisereg.register.trained import Objective
from napari_denoisereg.tiling import pad_to_multiple
from napari_denoisereg.training_settings import number_in_a_step


class DeepAffine(AffineNetworkRegistrar, kind="deep_affine"):
    """A network that predicts rotation, shift, scale and shear, trained on the movie; on noisy movies denoise first."""

    title: ClassVar[str] = "Deep affine (network)"
    reference: ClassVar[str] = "https://doi.org/10.1016/j.media.2018.11.010"
    sees_start: ClassVar[bool] = True

    similarity: Similarity = setting(Correlation(), "How images are compared while training.")
    batch: int = number_in_a_step(8, "pairs of frames")

    def _objective(self, network: DeepAffineNet, pool: FramePool, device: torch.device | str) -> Objective:
        """How unlike two frames are after the motion that the network says."""
        random = devices.generator(self.seed, device)
        aside = [self._images([pair], grid, device) for pair, grid in pool.hold_out_pairs(HELD_OUT, self.reach)]

        def loss(_: int) -> Tensor:
            pairs = self._images(*pool.pairs(self.batch, self.reach), device)
            fixed, moving = (augment(image, probability=self.augmentation, generator=random) for image in pairs)
            return self._unlike(network, fixed, moving)

        def validate() -> float:
            return sum(float(self._unlike(network, *pair)) for pair in aside) / len(aside)

        return Objective(loss, validate, (random,))

    def _build(self, ndim: int) -> DeepAffineNet:
        return DeepAffineNet(ndim)

    def _predict(self, network: DeepAffineNet, fixed: Tensor, moving: Tensor) -> Tensor:
        weights: Tensor = network(fixed, moving)
        return weights

    def _images(self, drawn: Sequence[tuple[Tensor, Tensor]], grid: Grid, device: torch.device | str) -> tuple[Tensor, Tensor]:
        fixed, moving = (torch.stack([pair[side] for pair in drawn]).to(device) for side in (0, 1))
        (one, two), _ = standardised((fixed, moving), grid, self.size)
        return pad_to_multiple(one, STRIDE), pad_to_multiple(two, STRIDE)

    def _unlike(self, network: DeepAffineNet, fixed: Tensor, moving: Tensor) -> Tensor:
        """Similarity in both directions, a scalar."""
        grid = Grid(tuple(fixed.shape[2:]))
        points, total = grid.points(fixed.device), torch.zeros((), device=fixed.device)
        for one, two in ((fixed, moving), (moving, fixed)):
            with devices.autocast(fixed.device):
                weights = network(one, two)
            index = affine_points(to_world(weights, grid), points)
            total = total + 0.5 * self.similarity(one, sample(two, index), inside(index, grid.shape).unsqueeze(1)).mean()
        return total
