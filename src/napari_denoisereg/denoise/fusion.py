"""Fusion: every frame is averaged with its neighbours along the motion that registration found. No training, no ground truth.

Along the motion a cell stands still, so its noise averages out without blur. Each neighbour counts by how well it fits, per
place and per fineness of structure (`cosine_patches`):

    weight = 1 / (noise + misfit),    misfit = mean squared difference to the frame itself - the noise of both

so what changed on its own, a vesicle that left, texture that renewed itself, a frame out of focus, keeps its own value and
leaves no ghost, while coarse and unchanged structure comes from all neighbours. What noise is left after averaging is
known, and is taken away by the Wiener rule: waves of a patch are kept by the share of them that is structure, ``s / (s + v)``.

Every quantity is measured on the noisy movie, with the noise strength of `noise`; nothing is fitted to a clean image. Without
motion neighbours hardly fit, and this is a spatial filter. A frame by itself (``reach`` 0, or a single image) is filtered once
more, with this result as the pilot: similar places of the frame help each other (`collaborative`).

References
----------
Yu and Sapiro 2011, doi:10.5201/ipol.2011.ys-dct. Maggioni et al. 2012, doi:10.1109/TIP.2012.2199324 (V-BM4D: filtering along
motion). Dabov et al. 2007, doi:10.1109/TIP.2007.901238 (BM3D: similar places). The weights by misfit are this project's.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from napari_denoisereg.denoise.collaborative import collaborate
from napari_denoisereg.denoise.denoiser import Denoiser
from napari_denoisereg.denoise.neighbours import Neighbours
from napari_denoisereg.denoise.weighing import Weighing
from napari_denoisereg.frames import denoise_frames
from napari_denoisereg.geometry import PerFrame
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.noise import NoiseModel, estimate_noise, repair
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps
from napari_denoisereg.tiling import tiles

PART, CONTEXT = {2: 640, 3: 48}, {2: 64, 3: 16}
"""Side of the parts that large frames are fused in, and what is looked at around them, voxels: bounds memory."""
SMALL = 8  # pixels: shorter frames have no places to compare


class Fusion(Denoiser, kind="fusion"):
    """Averages every frame with its neighbours along the registered motion; moving things leave no ghosts. No training."""

    title: ClassVar[str] = "Fusion of neighbouring frames"
    reference: ClassVar[str] = "https://doi.org/10.1109/TIP.2012.2199324"
    uses_motion: ClassVar[bool] = True

    reach: int = setting(
        6,
        "How many frames before and after each frame are averaged with it; 0 uses each frame alone.",
        unit="frames",
        ge=0,
        le=64,
    )
    patch: int = setting(16, "Size of the patches that are compared.", unit="px", ge=4, le=64, advanced=True)
    overlap: int = setting(
        4, "How much patches overlap: 2 is fast, 4 is a little better. Volumes use at most 2.", ge=1, le=16, advanced=True
    )
    strength: float = setting(
        1.0, "How much noise to remove: 1 removes what was measured in the movie, more is smoother.", ge=0, le=4, advanced=True
    )
    similar: int = setting(
        16,
        "For single images: how many similar places are averaged with each other; 1 turns this off (faster).",
        ge=1,
        le=64,
        advanced=True,
    )
    seed: int = setting(0, "Start of the random numbers that test how much noise is left.", ge=0, le=2**31 - 1, advanced=True)

    def run(
        self,
        stack: Stack,
        *,
        model: Model | None = None,
        device: torch.device | str = "cpu",
    ) -> Steps[Stack]:
        """Denoise a stack in which nothing moves; see `Denoiser.run`."""
        return (yield from self.run_along(stack, None, model=model, device=device))

    def run_along(
        self,
        stack: Stack,
        motion: PerFrame | None,
        *,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
        device: torch.device | str = "cpu",
    ) -> Steps[Stack]:
        """Denoise a stack along its motion; see `Denoiser.run_along`."""
        noise = estimate_noise(stack)
        ready = dict[torch.device, tuple[Neighbours, dict[tuple[int, ...], Weighing]]]()

        def denoise(noisy: Tensor, frames: Sequence[int]) -> Tensor:
            where = noisy.device
            if where not in ready:
                ready[where] = Neighbours(stack, motion, noise, reach=self.reach, seed=self.seed, device=where), {}
            neighbours, weighings = ready[where]
            clean = [self._fused(frame, neighbours, weighings, image) for frame, image in zip(frames, noisy[:, 0], strict=True)]
            if self.similar > 1 and min(stack.n_frames, 2 * self.reach + 1) == 1:
                clean = [self._by_similar(image, first, noise) for image, first in zip(noisy[:, 0], clean, strict=True)]
            return torch.stack(clean)[:, None]

        step = {"denoise": self.to_dict(), "noise": {"gain": noise.gain, "base": noise.base}}
        return (yield from denoise_frames(stack, denoise, device=device, batch=1, step=step))

    def _fused(self, frame: int, neighbours: Neighbours, weighings: dict[tuple[int, ...], Weighing], noisy: Tensor) -> Tensor:
        """A frame fused with its neighbours: in one go, or part by part where it is large."""
        is_flat, fused = noisy.ndim == 2, torch.empty_like(noisy)
        side = self.patch if is_flat else max(4, self.patch // 2)
        step = max(1, side // (self.overlap if is_flat else min(self.overlap, 2)))
        for tile in tiles(noisy.shape, PART[noisy.ndim], CONTEXT[noisy.ndim], multiple=step):
            near = neighbours.around(frame, tile.read)
            shape = tuple(near.frames.shape[1:])
            if shape not in weighings:
                weighings[shape] = Weighing(shape, side, step, neighbours.noise, strength=self.strength, device=noisy.device)
            fused[tile.write] = weighings[shape].fuse(near)[tile.keep]
        return fused

    def _by_similar(self, noisy: Tensor, fused: Tensor, noise: NoiseModel) -> Tensor:
        """A frame that has no neighbours, by the help of similar places in it."""
        if noisy.ndim != 2 or min(noisy.shape) < SMALL:
            return fused
        noisy = repair(noisy, noise)
        stabilised = collaborate(noise.stabilise(noisy), noise.stabilise(fused), similar=self.similar, strength=self.strength)
        clean = noise.restore(stabilised)
        return clean + (noisy.mean() - clean.mean())
