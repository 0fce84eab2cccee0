"""What registrars have in common that landmarks can pull: one way to align, with landmarks or without."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from napari_denoisereg.geometry import Grid, Transform
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.register.registrar import Anchors, Registrar
from napari_denoisereg.steps import Steps


def weight_of_landmarks() -> Any:
    """How hard landmarks pull."""
    words = "If you give landmarks: how much a misfit of 1 px counts, compared with the likeness of the images."
    return setting(1.0, words, ge=0, le=1e9, advanced=True)


class MarkedRegistrar(Registrar):
    """A registrar without training that takes landmarks; members write `_align`."""

    takes_landmarks: ClassVar[bool] = True

    def align(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs; see `Registrar.align`."""
        return self._align(fixed, moving, grid, None, start)

    def align_marked(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        anchors: Sequence[Anchors],
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,  # noqa: ARG002 - nothing is trained
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs, pulled by landmarks; see `Registrar.align_marked`."""
        return self._align(fixed, moving, grid, anchors, start)

    def _align(
        self, fixed: Tensor, moving: Tensor, grid: Grid, anchors: Sequence[Anchors] | None, start: Sequence[Transform] | None
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs, with landmarks where there are some."""
        raise NotImplementedError
