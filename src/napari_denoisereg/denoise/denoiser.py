"""Denoiser: the family of methods that take noise away from a stack.

To add one, see ``docs/how-to/add-a-denoiser.md``: one new file in this folder.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch

from napari_denoisereg.geometry import PerFrame
from napari_denoisereg.method import Method
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps


class Denoiser(Method, family="denoiser"):
    """A method that takes noise away.

    Contract of `run`: same shape, axes, grid, intensity scale and number of frames as the input; float32 values; the input
    is untouched; same seed and a budget in iterations: same result.
    """

    is_trained: ClassVar[bool] = False
    """Whether the method has weights, so that `fit` makes a `Model`."""
    uses_motion: ClassVar[bool] = False
    """Whether `run_along` makes use of motion, so that a recipe registers first."""

    def fit(self, stacks: Sequence[Stack], *, start: Model | None = None, device: torch.device | str = "cpu") -> Steps[Model]:
        """Train on stacks.

        Parameters
        ----------
        stacks : sequence of Stack
            One or more, checked by `stack.inspect`, without channel axis.
        start : Model, optional
            Weights to start from (fine-tuning).
        device : torch.device or str
            Where to train.

        Returns
        -------
        Steps of Model
            The trained model.

        Raises
        ------
        TypeError
            When the method has nothing to train.
        """
        raise TypeError(f"The denoiser {self.kind!r} has nothing to train; call run() instead.")

    def run(self, stack: Stack, *, model: Model | None = None, device: torch.device | str = "cpu") -> Steps[Stack]:
        """Denoise a stack.

        Parameters
        ----------
        stack : Stack
            Checked by `stack.inspect`, without channel axis.
        model : Model, optional
            Trained weights; without them a method that needs some trains on the stack itself first.
        device : torch.device or str
            Where to compute.

        Returns
        -------
        Steps of Stack
            The denoised stack.
        """
        raise NotImplementedError

    def run_along(
        self,
        stack: Stack,
        motion: PerFrame | None,
        *,
        model: Model | None = None,
        device: torch.device | str = "cpu",
    ) -> Steps[Stack]:
        """Denoise a stack whose motion is known; methods that do not use it do as `run`.

        Parameters
        ----------
        stack, model, device
            See `run`.
        motion : PerFrame, optional
            Frame 0 to every frame, as a registration of this stack says; None where nothing moves.

        Returns
        -------
        Steps of Stack
            The denoised stack, every frame in its own place.
        """
        return self.run(stack, model=model, device=device)
