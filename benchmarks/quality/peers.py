"""Peers at their documented best practice: Gaussian prefilter, affine chain frame to frame, then a flow to the first frame.

Cells that crawl far have nothing in common with the first frame: for them a flow from frame to frame, too.
"""

import itertools
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from pystackreg import StackReg
from scipy.ndimage import gaussian_filter

from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, Transform, warp

Frames = np.ndarray
PREFILTER = 2.0  # px


def stackreg_chain(frames: Frames) -> list[Transform]:
    """StackReg, affine, every frame to the one before, composed."""
    smooth = [gaussian_filter(frame, PREFILTER) for frame in frames]
    stackreg, found = StackReg(StackReg.AFFINE), list[Transform]([Identity(2)])
    for fixed, moving in itertools.pairwise(smooth):
        found.append(found[-1].then(_from_xy(stackreg.register(fixed, moving))))
    return found


def stackreg_to_first(frames: Frames) -> list[Transform]:
    """StackReg, affine, every frame straight to the first."""
    smooth = [gaussian_filter(frame, PREFILTER) for frame in frames]
    stackreg = StackReg(StackReg.AFFINE)
    return [Identity(2), *(_from_xy(stackreg.register(smooth[0], moving)) for moving in smooth[1:])]


def stackreg_dis(frames: Frames) -> list[Transform]:
    """DIS flow after the StackReg chain."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _with_flow(frames, lambda fixed, moving: dis.calc(fixed, moving, None))


def stackreg_farneback(frames: Frames) -> list[Transform]:
    """Farnebäck flow after the StackReg chain."""
    return _with_flow(frames, lambda fixed, moving: cv2.calcOpticalFlowFarneback(fixed, moving, None, 0.5, 5, 31, 5, 7, 1.5, 0))


def dis_chain(frames: Frames) -> list[Transform]:
    """DIS flow, every frame to the one before, composed."""
    dis, found = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), list[Transform]([Identity(2)])
    for pair in itertools.pairwise(gaussian_filter(frame.astype(np.float32), PREFILTER) for frame in frames):
        low, high = np.percentile(pair, [0.5, 99.9])
        xy = dis.calc(*(_to_uint8(image, low, high) for image in pair), None)
        found.append(found[-1].then(_from_flow(xy)).to_displacement(Grid(xy.shape[:2])))
    return found


def _with_flow(frames: Frames, flow: Callable[[Frames, Frames], Frames]) -> list[Transform]:
    chain, grid = stackreg_chain(frames), Grid(frames.shape[1:])
    low, high = np.percentile(frames, [0.5, 99.9])
    fixed = _to_uint8(gaussian_filter(frames[0], PREFILTER), low, high)
    found = list[Transform]([Identity(2)])
    for frame, rough in zip(frames[1:], chain[1:], strict=True):
        warped = warp(torch.from_numpy(gaussian_filter(frame, PREFILTER)), rough, fixed=grid).numpy()
        # Bleaching: bring the warped frame to the first frame's mean and spread, as the flows assume constant brightness.
        warped = (warped - warped.mean()) / warped.std() * gaussian_filter(frames[0], PREFILTER).std() + frames[0].mean()
        found.append(_from_flow(flow(fixed, _to_uint8(warped, low, high))).then(rough))
    return found


def _to_uint8(image: Frames, low: float, high: float) -> Frames:
    return (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _from_flow(xy: np.ndarray) -> Displacement:
    """OpenCV's flows are ``(y, x, 2)``, x first."""
    return Displacement(torch.from_numpy(np.ascontiguousarray(np.moveaxis(xy[..., ::-1], -1, 0))), Grid(xy.shape[:2]))


def _from_xy(matrix: np.ndarray) -> Affine:
    """StackReg maps fixed (x, y) to moving (x, y) in pixels."""
    flip = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    return Affine(torch.from_numpy((flip @ matrix @ flip)[:2]))


PEERS: dict[str, Callable[[Frames], Sequence[Transform]]] = {
    "StackReg affine, chain": stackreg_chain,
    "StackReg affine, all to first": stackreg_to_first,
    "OpenCV DIS flow after StackReg": stackreg_dis,
    "OpenCV Farnebäck flow after StackReg": stackreg_farneback,
    "OpenCV DIS flow, chain": dis_chain,
}
