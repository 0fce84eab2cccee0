"""Landmarks: places that a person marked in several frames, as a soft term of what registrars descend on.

A registrar that takes them minimises, per voxel,

    2 (1 - correlation) + landmark_weight * mean over landmarks of |T(p) - q|²      (distances in px)

with p the place in the fixed and q that in the moving frame. So they guide where images say little, and a motion that can
follow all of them does so in the limit of a large weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_denoisereg.geometry import PerFrame, preimage
from napari_denoisereg.register.registrar import Anchors, Registrar


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Marked places of a movie.

    Parameters
    ----------
    places : Tensor
        ``(T, N, D)``, world units, float64; not a number where a landmark is not marked.
    """

    places: Tensor

    def pair(self, fixed: int, moving: int) -> Anchors:
        """Landmarks that two frames share.

        Parameters
        ----------
        fixed, moving : int
            Frame numbers.

        Returns
        -------
        Anchors
            None may be left.
        """
        both = torch.isfinite(self.places[[fixed, moving]]).all(-1).all(0)
        return Anchors(self.places[fixed, both], self.places[moving, both])

    def before(self, motion: PerFrame) -> "Landmarks":
        """Landmarks of frames that were warped: what a warped frame shows at x, the frame shows at ``motion(x)``.

        Parameters
        ----------
        motion : PerFrame
            One transform per frame.

        Returns
        -------
        Landmarks
            Of the warped frames.
        """
        frames = zip(self.places, motion, strict=True)
        return Landmarks(torch.stack([places if each.is_identity else preimage(each, places.T).T for places, each in frames]))


def check_landmarks(registrars: Sequence[Registrar]) -> None:
    """Refuse landmarks that every registrar would pass over.

    Parameters
    ----------
    registrars : sequence of Registrar
        Of a recipe.

    Raises
    ------
    ValueError
        Names them and says what to do instead.
    """
    if not any(registrar.takes_landmarks for registrar in registrars):
        able = ", ".join(kind for kind, member in Registrar.members().items() if member.takes_landmarks)
        raise ValueError(
            f"Expected a registrar that keypoints can guide ({able}), got {_named(registrars) or 'none'}; choose a recipe "
            "with one of these, or go on from the keypoints instead: 'Start from' in napari, --start, or starts.from_keypoints."
        )


def passed_over(registrars: Sequence[Registrar]) -> str:
    """Say which registrars of a recipe landmarks do not pull.

    Parameters
    ----------
    registrars : sequence of Registrar
        One of them at least takes landmarks.

    Returns
    -------
    str
        In plain words; empty where all take them.
    """
    deaf = [registrar for registrar in registrars if not registrar.takes_landmarks]
    if not deaf:
        return ""
    able = [registrar for registrar in registrars if registrar.takes_landmarks]
    after = registrars[-1] in deaf
    warned = f", and what comes after {able[-1].kind} may leave the keypoints again" if after else ""
    looks = "look" if len(deaf) > 1 else "looks"
    return f"The keypoints guide {_named(able)}; {_named(deaf)} {looks} at the images alone{warned}."


def _named(registrars: Sequence[Registrar]) -> str:
    return " and ".join(dict.fromkeys(registrar.kind for registrar in registrars))
