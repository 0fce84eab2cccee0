"""Models as bioimage.io packages, for other programs (ilastik, deepImageJ, …) and back.

A package holds the network as TorchScript that takes raw frames and gives denoised ones (it standardises each frame by itself,
and its contrast is that of the movie it was exported with: see `networks.contrast`), a test input and output, and our own model
file as an attachment. Only that file is read back: it is data, while TorchScript and PyTorch checkpoints are code, which is
never run here.

The description is JSON, which is YAML too, so nothing needs to be installed. ``bioimageio test PACKAGE`` of the package
bioimageio.core, the official validator, accepts it; the tests of this project run it.

References
----------
https://bioimage.io, model description format 0.5.
"""

import hashlib
import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_denoisereg.atomic import replacing
from napari_denoisereg.io.library import FAMILIES
from napari_denoisereg.model import Model, load
from napari_denoisereg.noise import without_defects
from napari_denoisereg.stack import Stack

ATTACHED = "napari-denoisereg.model"
LARGEST = 2_000_000_000  # bytes of a model file that is read back
SIDE = {2: 128, 3: 32}
UNITS = {"micrometer": "micrometer", "nanometer": "nanometer", "millimeter": "millimeter"}


@runtime_checkable
class _HasImageNetwork(Protocol):
    def image_network(self, model: Model, stack: Stack) -> Any: ...


class _RawToDenoised(nn.Module):
    """Standardises frames by themselves, denoises them, and gives back their scale and their mean."""

    def __init__(self, network: nn.Module, ndim: int) -> None:
        super().__init__()
        self.network = network
        self.axes = tuple(range(1, ndim + 2))

    def forward(self, raw: Tensor) -> Tensor:
        mean, std = raw.mean(self.axes, keepdim=True), raw.std(self.axes, keepdim=True).clamp(min=1e-12)
        denoised = self.network((raw - mean) / std)
        return (denoised - denoised.mean(self.axes, keepdim=True)) * std + mean


def export_package(model: Model, path: str | Path, sample: Stack, *, frame: int = 0, overwrite: bool = False) -> None:
    """Write a model as a bioimage.io package.

    Parameters
    ----------
    model : Model
        Of a method that denoises single frames.
    path : str or Path
        The zip file; replaced only when the new one is complete.
    sample : Stack
        Without channel axis. The network in the package gets the contrast that is right for it, so take the movie that the
        model was trained on, or one like those it is for; a part of one frame becomes the package's test input.
    frame : int
        Which frame.
    overwrite : bool
        Whether an earlier file there may be replaced.

    Raises
    ------
    TypeError
        When the method needs more than one frame at a time.
    """
    method = model.method
    if not isinstance(method, _HasImageNetwork):
        raise TypeError(
            f"{method.title or method.kind!r} does not turn one image into a better one by itself, which is all "
            "that bioimage.io packages can describe; save the model to a file instead."
        )
    model.expect(type(method), sample.grid.ndim)
    network = _RawToDenoised(method.image_network(model, without_defects(sample)), model.ndim).eval()
    noisy = torch.from_numpy(_part(sample.frame(frame).astype(np.float32)))[None, None]
    with tempfile.TemporaryDirectory(prefix="denoisereg-") as place:
        folder = Path(place)
        with torch.no_grad():
            _trace(network, noisy).save(str(folder / "network.pt"))
            np.save(folder / "denoised.npy", network(noisy).numpy())
        np.save(folder / "noisy.npy", noisy.numpy())
        model.save(folder / ATTACHED)
        (folder / "README.md").write_text(_readme(model), encoding="utf-8")
        description = json.dumps(_description(model, folder, sample), indent=2)
        (folder / "bioimageio.yaml").write_text(description, encoding="utf-8")
        with replacing(path, overwrite=overwrite) as part, zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED) as package:
            for file in sorted(folder.iterdir()):
                package.write(file, file.name)


def import_package(path: str | Path) -> Model:
    """Read a model from a bioimage.io package that this program wrote.

    Parameters
    ----------
    path : str or Path
        A zip file.

    Returns
    -------
    Model
        From its attached model file; nothing else in the package is opened.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no zip file, or holds no model file of this program.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no package {source}.")
    try:
        with zipfile.ZipFile(source) as package, tempfile.TemporaryDirectory(prefix="denoisereg-") as place:
            found = [info for info in package.infolist() if Path(info.filename).name == ATTACHED]
            if not found:
                raise ValueError(
                    f"{source.name} was not written by this program: its weights are code (TorchScript or a PyTorch "
                    "checkpoint), which is not run here. Ask for a model file saved from napari-denoisereg."
                )
            if found[0].file_size > LARGEST:
                raise ValueError(f"{source.name} holds a model of {found[0].file_size / 1e9:.1f} GB; expected at most 2 GB.")
            target = Path(place) / ATTACHED
            target.write_bytes(package.read(found[0]))
            return load(target, FAMILIES)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{source.name} is no complete zip file ({error}); it may have been cut off while copying.") from error


def _trace(network: nn.Module, noisy: Tensor) -> Any:
    """As TorchScript: deprecated in PyTorch, but the one form of a network that needs no code beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(network, noisy, check_trace=False)


def _part(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """The middle of a frame; sides are multiples of 8, zeros where it is shorter than 8."""
    wanted = SIDE[frame.ndim]
    for axis, length in enumerate(frame.shape):
        side = min(wanted, max(8, length // 8 * 8))
        start = max(0, (length - side) // 2)
        frame = frame[(slice(None),) * axis + (slice(start, start + side),)]
        missing = [(0, side - frame.shape[axis] if other == axis else 0) for other in range(frame.ndim)]
        frame = np.pad(frame, missing, mode="edge")
    return np.ascontiguousarray(frame)


def _description(model: Model, folder: Path, sample: Stack) -> dict[str, Any]:
    names, grid = sample.spatial_axes, sample.grid
    leading = [{"type": "batch"}, {"type": "channel", "channel_names": ["intensity"]}]
    places = [
        {"type": "space", "id": name, "scale": float(step), **({"unit": UNITS[unit]} if unit in UNITS else {})}
        for name, step, unit in zip(names, grid.spacing, grid.units, strict=True)
    ]
    noisy = {
        "id": "noisy",
        "description": "A noisy frame, any intensity scale.",
        "axes": [*leading, *({**place, "size": {"min": 8, "step": 8}} for place in places)],
        "test_tensor": _file(folder / "noisy.npy"),
        "data": {"type": "float32"},
    }
    denoised = {
        "id": "denoised",
        "description": "The denoised frame, same intensity scale.",
        "axes": [*leading, *({**place, "size": {"tensor_id": "noisy", "axis_id": place["id"]}} for place in places)],
        "test_tensor": _file(folder / "denoised.npy"),
        "data": {"type": "float32"},
    }
    return {
        "format_version": "0.5.3",
        "type": "model",
        "name": _title(model),
        "description": f"{model.method.title}, trained on the noisy data itself.",
        "authors": [{"name": "napari-denoisereg user"}],
        "cite": [{"text": model.method.title, "url": model.method.reference}],
        "license": "CC-BY-4.0",
        "documentation": "README.md",
        "attachments": [_file(folder / ATTACHED)],
        "tags": ["denoising", "napari", f"{model.ndim}d", model.method.kind],
        "inputs": [noisy],
        "outputs": [denoised],
        "weights": {"torchscript": {**_file(folder / "network.pt"), "pytorch_version": torch.__version__.partition("+")[0]}},
    }


def _file(path: Path) -> dict[str, str]:
    return {"source": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _title(model: Model) -> str:
    given = str(model.provenance.get("name") or f"{model.method.kind} {model.ndim}D")
    return "".join(each if each.isalnum() or each in "_+- ()" else " " for each in given)[:120].strip() or "model"


def _readme(model: Model) -> str:
    data = ", ".join(str(each) for each in model.provenance.get("trained_on", ())) or "not recorded"
    notes = str(model.provenance.get("notes", ""))
    return (
        f"# {_title(model)}\n\n{notes}\n\nDenoises single frames of microscopy movies. Made with napari-denoisereg by "
        f"{model.method.title} ({model.method.reference}).\n\n## Training\n\nTrained on: {data}. "
        f"Iterations: {model.provenance.get('iterations', 'not recorded')}.\n\n"
        "## Validation\n\n"
        "The network learnt from noisy data alone. Every frame keeps its mean, and has the contrast that was right for the "
        "movie this package was made with. Look at the difference between raw and denoised frames: it must show noise "
        "and no structure. Data with other noise or other pixel sizes need a model of their own.\n"
    )
