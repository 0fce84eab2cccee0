"""Registrar: the family of methods that find transforms between frames.

To add one, see ``docs/how-to/add-a-registrar.md``: one new file in this folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from napari_denoisereg.geometry import Grid, PerFrame, Transform
from napari_denoisereg.losses import Similarity
from napari_denoisereg.method import Method
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps

Score = Callable[[Model], float]


@dataclass(frozen=True, eq=False)
class Anchors:
    """Landmarks of a pair: what is at ``fixed[k]`` in the fixed image is at ``moving[k]`` in the moving one.

    Parameters
    ----------
    fixed, moving : Tensor
        ``(K, D)``, world units, float64, CPU; K may be 0.
    """

    fixed: Tensor
    moving: Tensor


class Registrar(Method, family="registrar"):
    """A method that finds, for a batch of pairs, where points of the fixed image are in the moving image."""

    is_trained: ClassVar[bool] = False
    """Whether the method has weights, so that `fit` makes a `Model`."""

    is_denoiser: ClassVar[bool] = False
    """Whether its model also denoises, so that `denoise` works."""

    is_groupwise: ClassVar[bool] = False
    """Whether it can look at all frames of a movie at once, so that `align_movie` works."""

    is_sectionwise: ClassVar[bool] = False
    """Whether its `align_movie` is made for serial sections: every section is compared with its neighbours only."""

    is_dense: ClassVar[bool] = False
    """Whether it finds a motion of its own for every voxel, noise and all: chained from frame to frame such errors add up, so
    that a start that is known is gone on from straight to the first frame."""

    bends: ClassVar[bool | None] = None
    """Whether it bends the image, or moves it as a whole and goes on from what moves it as a whole; None where nobody said."""

    takes_landmarks: ClassVar[bool] = False
    """Whether places that a person marked can be a part of what it minimises, so that `align_marked` works, and where it is
    group-wise `align_movie_marked`."""

    @property
    def bridges_stains(self) -> bool:
        """Whether what is bright in one image may be dark in the other."""
        similarity = getattr(self, "similarity", None)
        return isinstance(similarity, Similarity) and similarity.bridges_stains

    @property
    def wants_raw(self) -> bool:
        """Whether it looks at the frames before denoising, where there are denoised ones."""
        return self.is_denoiser

    def fit(
        self,
        stacks: Sequence[Stack],
        *,
        start: Model | None = None,
        device: torch.device | str = "cpu",
        score: Score | None = None,
    ) -> Steps[Model]:
        """Train on stacks.

        Parameters
        ----------
        stacks : sequence of Stack
            One or more, checked by `checks.inspect`, without channel axis.
        start : Model, optional
            Weights to start from (fine-tuning).
        device : torch.device or str
            Where to train.
        score : callable, optional
            Judges a model, low is good (e.g. keypoint error on validation frames); the best model is kept. Without it
            the method uses a proxy of its own.

        Returns
        -------
        Steps of Model
            The trained model.

        Raises
        ------
        TypeError
            When the method has nothing to train.
        """
        raise TypeError(f"The registrar {self.kind!r} has nothing to train; call align() instead.")

    def as_trained(self, model: Model) -> Self:
        """The method as it must be to use a model.

        Parameters
        ----------
        model : Model
            Of this method.

        Returns
        -------
        Registrar
            With the model's settings where its network cannot do without them (e.g. which variant it is), else this one's.

        Raises
        ------
        ValueError
            When such a setting was changed to something else.
        """
        return self

    def align(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs.

        Parameters
        ----------
        fixed, moving : Tensor
            ``(B, *grid.shape)``, any intensity scale, on the device to compute on.
        grid : Grid
            Where the voxels of both are.
        start : sequence of Transform, optional
            One per pair: what is known already. The result includes it.
        model : Model, optional
            Trained weights; required where ``is_trained``.

        Returns
        -------
        Steps of list of Transform
            One per pair, fixed to moving, world units.
        """
        raise NotImplementedError

    def align_marked(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        anchors: Sequence[Anchors],
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs, pulled by landmarks.

        Parameters
        ----------
        fixed, moving, grid, start, model
            See `align`.
        anchors : sequence of Anchors
            One per pair; a pair without any is registered as by `align`.

        Returns
        -------
        Steps of list of Transform
            One per pair, fixed to moving, world units.

        Raises
        ------
        TypeError
            When the method cannot take landmarks.
        """
        raise TypeError(f"The registrar {self.kind!r} cannot take landmarks; give them as a start instead.")

    def align_movie(
        self, stack: Stack, *, start: PerFrame | None = None, model: Model | None = None, device: torch.device | str = "cpu"
    ) -> Steps[PerFrame]:
        """Register all frames of a movie to the first at once, where the method can.

        Parameters
        ----------
        stack : Stack
            Without channel axis.
        start : PerFrame, optional
            What is known already, first frame to each frame. The result includes it.
        model : Model, optional
            Trained weights; required where ``is_trained``.
        device : torch.device or str
            Where to compute.

        Returns
        -------
        Steps of PerFrame
            First frame to each frame, world units; the first is the identity.

        Raises
        ------
        TypeError
            When the method only knows pairs.
        """
        raise TypeError(f"The registrar {self.kind!r} registers pairs, not a movie at once; call align() or use a series.")

    def align_movie_marked(
        self,
        stack: Stack,
        places: Tensor,
        *,
        start: PerFrame | None = None,
        model: Model | None = None,
        device: torch.device | str = "cpu",
    ) -> Steps[PerFrame]:
        """Register all frames of a movie to the first at once, pulled by landmarks, where the method can.

        Parameters
        ----------
        stack, start, model, device
            See `align_movie`.
        places : Tensor
            Of landmarks, ``(T, K, D)``, world units, float64, CPU; not a number where one is not marked.

        Returns
        -------
        Steps of PerFrame
            First frame to each frame, world units; the first is the identity.

        Raises
        ------
        TypeError
            When the method cannot take landmarks, or only knows pairs.
        """
        raise TypeError(f"The registrar {self.kind!r} cannot take landmarks of a movie at once; give them as a start instead.")

    def denoise(self, stack: Stack, *, model: Model, device: torch.device | str = "cpu") -> Steps[Stack]:
        """Denoise with the registration model, where the method does both.

        Parameters
        ----------
        stack : Stack
            Without channel axis.
        model : Model
            Trained weights.
        device : torch.device or str
            Where to compute.

        Returns
        -------
        Steps of Stack
            The denoised stack.

        Raises
        ------
        TypeError
            When the method does not denoise.
        """
        raise TypeError(f"The registrar {self.kind!r} does not denoise; choose a denoiser.")
