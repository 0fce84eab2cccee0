"""One Transform per frame of a stack."""

from collections.abc import Iterator, Sequence
from typing import overload

from napari_denoisereg.geometry.transform import Transform


class PerFrame(Sequence[Transform]):
    """One Transform per frame of a stack, all from the space of the fixed frame.

    Parameters
    ----------
    transforms : sequence of Transform
        One per frame, same number of axes.

    Raises
    ------
    ValueError
        When empty or of mixed dimension.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = tuple(transforms)
        if not self._transforms:
            raise ValueError("Expected one transform per frame, got none.")
        if len({transform.ndim for transform in self._transforms}) != 1:
            raise ValueError("All frames' transforms must have the same number of axes.")

    @overload
    def __getitem__(self, frame: int) -> Transform: ...
    @overload
    def __getitem__(self, frame: slice) -> "PerFrame": ...
    def __getitem__(self, frame: int | slice) -> "Transform | PerFrame":
        """The transform of a frame, or those of several."""
        return PerFrame(self._transforms[frame]) if isinstance(frame, slice) else self._transforms[frame]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._transforms)

    def __iter__(self) -> Iterator[Transform]:
        """Frame by frame."""
        return iter(self._transforms)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self._transforms[0].ndim

    def then(self, other: "PerFrame") -> "PerFrame":
        """Frame by frame `Transform.then`."""
        return PerFrame([first.then(second) for first, second in zip(self, other, strict=True)])

    def inverse(self) -> "PerFrame":
        """Frame by frame `Transform.inverse`."""
        return PerFrame([transform.inverse() for transform in self])
