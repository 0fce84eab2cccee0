"""Models as bioimage.io packages, judged by the official validator, and back again."""

import io
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_denoisereg.denoise.gaussian import Gaussian
from napari_denoisereg.denoise.noise2void import Noise2Void
from napari_denoisereg.io.bioimageio import ATTACHED, export_package, import_package
from napari_denoisereg.model import Model
from napari_denoisereg.register.denoisereg import DenoiseReg
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

pytestmark = pytest.mark.slow


def movie(axes: str = "tyx") -> Stack:
    shape = {"tyx": (3, 41, 50), "tzyx": (3, 5, 17, 16)}[axes]
    data = np.random.default_rng(0).normal(500, 90, shape).astype(np.float32)
    units = ("second", *("micrometer",) * (len(axes) - 1))
    return Stack(data, axes, spacing=(1.0, *(0.5,) * (len(axes) - 1)), units=units, name="µ-movie: week #3")


def trained(method: Noise2Void | DenoiseReg, stack: Stack) -> Model:
    return finish(method.model_copy(update={"iterations": 2, "patch": 16, "batch": 1}).fit([stack]))


@pytest.mark.parametrize(
    ("method", "axes"),
    [(Noise2Void(), "tyx"), (Noise2Void(), "tzyx"), (DenoiseReg(size=32), "tyx")],
    ids=["n2v-2d", "n2v-3d", "denoisereg"],
)
def test_a_package_comes_back_equal_and_gives_the_model_s_own_prediction(
    method: Noise2Void | DenoiseReg, axes: str, tmp_path: Path
) -> None:
    stack = movie(axes)
    model = trained(method, stack)
    export_package(model, tmp_path / "model.zip", stack)
    back = import_package(tmp_path / "model.zip")
    assert (back.method, back.ndim, back.provenance) == (model.method, model.ndim, model.provenance)
    assert all(torch.equal(back.weights[name], weight) for name, weight in model.weights.items())
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
    with zipfile.ZipFile(tmp_path / "model.zip") as package:
        noisy, denoised = (np.load(io.BytesIO(package.read(f"{name}.npy"))) for name in ("noisy", "denoised"))
    assert noisy.shape == denoised.shape
    assert denoised.mean() == pytest.approx(noisy.mean(), rel=1e-4)


def waves() -> Stack:
    """Waves as strong as their noise; all frames are alike but for the noise."""
    y, x = np.mgrid[:48, :48]
    clean = 500 + 90 * np.sin(y / 5) * np.cos(x / 7)
    return Stack(np.random.default_rng(0).normal(clean, 60, (6, 48, 48)).astype(np.float32), "tyx")


@pytest.mark.parametrize("faded", [1.0, 0.7])
def test_the_network_in_a_package_gives_by_itself_what_the_method_gives(faded: float, tmp_path: Path) -> None:
    """Also where the weights alone would give too little contrast."""
    stack = waves()
    method = Noise2Void(iterations=40, seconds=1e6, patch=32, batch=4)
    model = finish(method.fit([stack]))
    weights = {name: weight * faded if name.startswith("last.") else weight for name, weight in model.weights.items()}
    model = replace(model, weights=weights)
    export_package(model, tmp_path / "model.zip", stack)
    with zipfile.ZipFile(tmp_path / "model.zip") as package, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.load(io.BytesIO(package.read("network.pt")))
    with torch.no_grad():
        theirs = np.stack([network(frame[None, None])[0, 0].numpy() for frame in stack.tensor(range(6))])
    ours = np.asarray(finish(method.run(stack, model=model)).data)
    assert ours.std() > 20
    assert np.sqrt(((theirs - ours) ** 2).mean()) < 0.03 * ours.std()  # frames are standardised by themselves there


VALIDATE = """
import sys
import bioimageio.core
summary = bioimageio.core.test_model(sys.argv[1])
print(summary.status)
print(summary.format())
"""


def test_the_official_validator_accepts_a_package(tmp_path: Path) -> None:
    """In a process of its own: the validator leaves files open."""
    export_package(trained(Noise2Void(), movie()), tmp_path / "model.zip", movie())
    ran = subprocess.run([sys.executable, "-c", VALIDATE, tmp_path / "model.zip"], capture_output=True, text=True)
    assert ran.stdout.splitlines()[:1] == ["passed"], ran.stdout + ran.stderr


def test_a_method_of_many_frames_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"all that bioimage\.io packages can describe; save the model to a file instead"):
        export_package(Model(Gaussian(), {}, 2), tmp_path / "model.zip", movie())
    assert list(tmp_path.iterdir()) == []


def test_packages_of_others_are_refused_and_not_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as package:
        package.writestr("rdf.yaml", "type: model")
        package.writestr("weights.pt", b"\x80\x04cos\nmkdir\n.")
    with pytest.raises(ValueError, match="was not written by this program: its weights are code"):
        import_package(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as package:
        package.writestr(f"../../{ATTACHED}", b"\x80\x04cos\nmkdir\n.")
    with pytest.raises(ValueError, match="no complete model file"):
        import_package(tmp_path / "evil.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match="is no complete zip file"):
        import_package(tmp_path / "text.zip")
    with pytest.raises(FileNotFoundError):
        import_package(tmp_path / "nothing.zip")
