"""Did it help? Figures per frame, before and after. No Qt; long work as Steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_denoisereg.steps import Steps
    from napari_denoisereg.widgets.inspect_results import Results

Floats = NDArray[np.float64]

LIKENESS, ERROR, NOISE = "Likeness of frames", "Keypoint error", "Noise"


@dataclass(frozen=True, eq=False)
class FrameFigures:
    """One figure per frame, before and after.

    Parameters
    ----------
    label : str
        With its unit, for an axis.
    before, after : ndarray
        ``(T,)``; NaN where there is none.
    higher_is_better : bool
        Else lower is.
    flagged : tuple of int
        Frames to look at.
    first : int
        First frame that counts: the fixed frame is always perfect.
    reasons : mapping of int to str
        Why frames are flagged, in plain words.
    """

    label: str
    before: Floats
    after: Floats
    higher_is_better: bool
    flagged: tuple[int, ...] = ()
    first: int = 1
    reasons: Mapping[int, str] = field(default_factory=dict)

    @property
    def gain(self) -> Floats:
        """How much better each frame became ``(T,)``: above zero is better."""
        return self.after - self.before if self.higher_is_better else self.before - self.after

    def words(self) -> str:
        """What the figures say, in one or two sentences."""
        before, after = self.before[self.first :], self.after[self.first :]
        known = np.isfinite(before) & np.isfinite(after)
        if not known.any():
            return "There are no figures to compare."
        better = int((self.gain[self.first :][known] > 0).sum())
        said = f"{self.label}: {before[known].mean():.3g} before, {after[known].mean():.3g} after (mean). "
        said += f"Better in {better} of {int(known.sum())} frames. "
        return said + (f"Look at {named(self.flagged)}." if self.flagged else "No frame stands out.")

    def reason(self, frame: int) -> str:
        """Why a frame is flagged, a sentence; empty where it is not."""
        if frame not in self.flagged:
            return ""
        why = self.reasons.get(frame, "it became worse, or fits far less well than the others")
        return f"Look at frame {frame}: {why}."


def named(frames: tuple[int, ...], most: int = 8) -> str:
    """Frames in words, e.g. ``"frames 3, 7 and 2 more"``."""
    more = f" and {len(frames) - most} more" if len(frames) > most else ""
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(map(str, frames[:most]))}{more}"


def measures(results: Results) -> dict[str, Callable[[], Steps[FrameFigures]]]:
    """What can be measured.

    Parameters
    ----------
    results : Results
        A movie and what was made of it.

    Returns
    -------
    dict
        Name of a measure to what measures it; the most telling comes first.
    """
    found: dict[str, Callable[[], Steps[FrameFigures]]] = {}
    if results.keypoints is not None and results.registration is not None:
        found[ERROR] = lambda: _keypoint_error(results)
    if results.registration is not None or results.aligned is not None:
        found[LIKENESS] = lambda: _likeness(results)
    if results.denoised is not None:
        found[NOISE] = lambda: _noise(results)
    return found


def _likeness(results: Results) -> Steps[FrameFigures]:
    """Correlation with the first frame (sections: the one before); the registration knows it where it was made here."""
    from napari_denoisereg.geometry import Identity, PerFrame
    from napari_denoisereg.register.quality import judge
    from napari_denoisereg.register.series import similarity_to_first, similarity_to_previous
    from napari_denoisereg.steps import Progress, portion

    is_sections = results.noisy.frame_axis == "z"
    label = f"Likeness to the {'section before' if is_sections else 'first frame'} (correlation)"
    registration = results.registration
    if registration is not None and {"before", "after"} <= set(registration.quality):
        yield Progress(1, 1)
        before, after = (np.asarray(registration.quality[key], float) for key in ("before", "after"))
        return FrameFigures(label, before, after, True, tuple(registration.flagged), reasons=registration.reasons)
    measure = similarity_to_previous if is_sections else similarity_to_first
    noisy, still = results.noisy.channel(0), PerFrame([Identity(results.noisy.grid.ndim)] * results.noisy.n_frames)
    before = (yield from portion(measure(noisy, still), 0.0, 0.5)).numpy()
    if registration is not None:
        after = (yield from portion(measure(noisy, registration.transforms), 0.5, 1.0)).numpy()
    else:
        assert results.aligned is not None
        after = (yield from portion(measure(results.aligned.channel(0), still), 0.5, 1.0)).numpy()
    reasons = judge({"before": before, "after": after}, other="section before" if is_sections else "first frame").reasons
    return FrameFigures(label, before, after, True, tuple(reasons), reasons=reasons)


def _keypoint_error(results: Results) -> Steps[FrameFigures]:
    """Mean error at the keypoints of each frame, world units; frames without keypoints have none."""
    from napari_denoisereg.pipeline import evaluate
    from napari_denoisereg.steps import Progress

    yield Progress(0, 1, "measuring at the keypoints")
    marks = results.keypoint_table()
    if marks is None:
        raise ValueError("The keypoints layer is empty; mark landmarks first.")
    error = evaluate(marks, results.registration)
    before, after = (np.full(results.noisy.n_frames, np.nan) for _ in range(2))
    for row in error.table("frame", world=True):
        before[row["frame"]], after[row["frame"]] = row["before_mean"], row["after_mean"]
    yield Progress(1, 1)
    return FrameFigures(f"Keypoint error ({results.unit})", before, after, False, _outliers(before, after))


def _noise(results: Results) -> Steps[FrameFigures]:
    """Noise that is seen between neighbouring pixels, estimated from each frame alone."""
    from napari_denoisereg.evaluation.image_quality import noise_level
    from napari_denoisereg.steps import Pace, Progress

    assert results.denoised is not None
    pace, total, rows = Pace(), results.noisy.n_frames, []
    for frame in range(total):
        rows.append([noise_level(stack.frame(frame)) for stack in (results.noisy, results.denoised)])
        if pace.is_due(last=frame + 1 == total):
            yield Progress(frame + 1, total, "estimating the noise")
    before, after = np.array(rows).T
    return FrameFigures("Noise (grey values)", before, after, False, first=0)


def _outliers(before: Floats, after: Floats) -> tuple[int, ...]:
    """Frames that got worse, or whose error is far above the others'."""
    known = np.isfinite(after)
    if not known.any():
        return ()
    usual = float(np.median(after[known]))
    spread = 1.4826 * float(np.median(np.abs(after[known] - usual)))
    limit = max(usual + 5 * spread, 2 * usual)
    return tuple(int(frame) for frame in np.flatnonzero(known & ((after > before) | (after > limit))))
