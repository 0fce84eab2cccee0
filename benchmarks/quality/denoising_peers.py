"""Denoisers of other projects, each at its documented best practice. What is not installed is named and left out."""

import functools
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from skimage.restoration import calibrate_denoiser, denoise_nl_means, denoise_wavelet

import napari_denoisereg as dr
from napari_denoisereg.noise import estimate_noise

Peer = Callable[[dr.Stack], np.ndarray]
CAREAMICS_SECONDS = float(os.environ.get("CAREAMICS_SECONDS", "150"))
PATCH, BATCH = 64, 16  # pixels, patches; of careamics, as in its Noise2Void guide


def stabilised(stack: dr.Stack, denoise: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Frames of noise 1, denoised one by one, back at their intensities."""
    noise = estimate_noise(stack)
    frames = noise.stabilise(stack.tensor(range(stack.n_frames))).numpy()
    clean = np.stack([denoise(frame) for frame in frames]).astype(np.float32)
    return noise.restore(torch.from_numpy(clean)).numpy()


def bm3d(stack: dr.Stack) -> np.ndarray:
    """BM3D on variance-stabilised frames; its licence is for non-commercial use, so it is a peer only."""
    from bm3d import bm3d as denoise

    return stabilised(stack, lambda frame: denoise(frame, 1.0))


def calibrated(stack: dr.Stack, denoise: Callable[..., np.ndarray], choices: Mapping[str, list[Any]]) -> np.ndarray:
    """A method of scikit-image; J-invariance on the middle frame chooses its settings, as scikit-image's guide recommends."""
    middle = estimate_noise(stack).stabilise(stack.tensor([stack.n_frames // 2])[0]).numpy()
    best = calibrate_denoiser(middle, denoise, denoise_parameters=dict(choices)).keywords["denoiser_kwargs"]
    return stabilised(stack, functools.partial(denoise, **best))


def wavelet(stack: dr.Stack) -> np.ndarray:
    choices = {"sigma": [0.7, 0.85, 1.0, 1.2, 1.5], "wavelet": ["db1", "db2", "sym4"]}
    return calibrated(stack, denoise_wavelet, choices)


def nl_means(stack: dr.Stack) -> np.ndarray:
    choices = {"h": [0.4, 0.6, 0.8, 1.0, 1.3, 1.7], "sigma": [1.0], "patch_size": [5, 7], "patch_distance": [9]}
    return calibrated(stack, denoise_nl_means, choices)


def careamics(stack: dr.Stack) -> np.ndarray:
    """Noise2Void of careamics, trained on the stack itself for CAREAMICS_SECONDS."""
    from careamics import CAREamist
    from careamics.config.factories import create_advanced_n2v_config

    frames = np.asarray(stack.data).astype(np.float32)
    config = create_advanced_n2v_config(
        "n2v",
        data_type="array",
        axes="SYX",
        patch_size=[PATCH, PATCH],
        batch_size=BATCH,
        num_epochs=10_000,
        num_workers=0,
        seed=1,  # 0 is refused
        trainer_params={"max_time": {"seconds": CAREAMICS_SECONDS}, "accelerator": "cpu"},
    )
    with tempfile.TemporaryDirectory() as folder:
        careamist = CAREamist(config, work_dir=folder, enable_progress_bar=False)
        careamist.train(train_data=frames)
        clean, _ = careamist.predict(frames, tile_size=(256, 256), tile_overlap=(48, 48), num_workers=0)
    return np.stack(clean).reshape(frames.shape)


PEERS: dict[str, tuple[str, str, Peer]] = {
    "wavelet": ("scikit-image wavelet, calibrated", "PyWavelets", wavelet),
    "nl_means": ("scikit-image non-local means, calibrated", "scikit-image", nl_means),
    "bm3d": ("BM3D, variance-stabilised", "bm3d", bm3d),
    "careamics": (f"careamics Noise2Void, {CAREAMICS_SECONDS:g} s", "careamics", careamics),
}
MODULES = {"PyWavelets": "pywt", "scikit-image": "skimage"}


def peers(wanted: list[str], say: Callable[[str], None]) -> Iterator[tuple[str, Peer]]:
    """Titles and methods of those that are installed; the others are named."""
    for name in wanted:
        title, package, denoise = PEERS[name]
        if importlib.util.find_spec(MODULES.get(package, package)) is None:
            say(f"{title} is left out: {package} is not installed (pip install {package}).")
        else:
            yield title, denoise
