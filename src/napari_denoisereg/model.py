"""Model: trained weights with the Method that made them, the statistics of their training data and their provenance.

A model file is data, never code: safetensors with a JSON header. It is written so that a killed run leaves the old file or
a complete new one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from napari_denoisereg.atomic import replacing
from napari_denoisereg.method import Method

FORMAT = "napari-denoisereg model 1"
UNFINISHED = "unfinished/"  # before the names of tensors that only a training needs
THUMBNAIL = "card/thumbnail"
HEADER = {"format", "family", "method", "ndim", "statistics", "provenance"}


@dataclass(frozen=True, eq=False)
class Unfinished:
    """Where the training of a model was interrupted; see `training.Training`.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Weights, the optimiser's memory, random states, losses.
    record : mapping
        JSON-ready: the rest.
    """

    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """Trained weights and what is needed to use and to judge them.

    Parameters
    ----------
    method : Method
        The settings it was trained with.
    weights : mapping of str to Tensor
        State of the network.
    ndim : int
        Number of spatial axes it works on, 2 or 3.
    statistics : mapping of str to float
        What the training data look like, see `appearance.appearance`; at least ``"mean"`` and ``"std"``.
    provenance : mapping
        JSON-ready: name of the data, version, iterations, seed, date.
    unfinished : Unfinished, optional
        Where its training was interrupted; given to ``fit`` as ``start`` the training goes on there.
    thumbnail : Tensor, optional
        A picture of what it does, ``(y, x)``, uint8.
    """

    method: Method
    weights: Mapping[str, Tensor]
    ndim: int
    statistics: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    unfinished: Unfinished | None = None
    thumbnail: Tensor | None = None

    def expect(self, method: type[Method], ndim: int) -> None:
        """Refuse to be used for something else.

        Parameters
        ----------
        method : type of Method
            Who wants to use the model.
        ndim : int
            Number of spatial axes of the data.

        Raises
        ------
        ValueError
            When the model belongs to another method or dimension.
        """
        if (self.method.family, self.method.kind) != (method.family, method.kind):
            raise ValueError(
                f"Expected a model of the {method.family} {method.kind!r}, got one of the {self.method.family} "
                f"{self.method.kind!r}; choose that method or another model."
            )
        if self.ndim != ndim:
            raise ValueError(f"This model was trained on {self.ndim}D frames, the data has {ndim}D frames; train a new one.")

    def fill(self, network: nn.Module) -> None:
        """Give a network the trained weights.

        Parameters
        ----------
        network : nn.Module
            Made as it was for the training.

        Raises
        ------
        ValueError
            When the weights are those of another network.
        """
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            first = " ".join(line.strip() for line in str(error).splitlines()[1:3])
            raise ValueError(
                f"The weights of this model of {self.method.kind!r} do not fit its network ({first[:200]}); it is "
                "damaged, or of another version of this program. Copy it again, or train a new model."
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the model; a killed run leaves the old file or the complete new one.

        Parameters
        ----------
        path : str or Path
            A file; its folder must exist.
        """
        header = {
            "format": FORMAT,
            "family": self.method.family,
            "method": self.method.to_json(),
            "ndim": str(self.ndim),
            "statistics": json.dumps(dict(self.statistics)),
            "provenance": json.dumps(dict(self.provenance)),
        }
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in self.weights.items()}
        if self.unfinished is not None:
            header["unfinished"] = json.dumps(dict(self.unfinished.record))
            tensors |= {UNFINISHED + name: value.cpu().clone() for name, value in self.unfinished.tensors.items()}
        if self.thumbnail is not None:
            tensors[THUMBNAIL] = self.thumbnail.contiguous()
        with replacing(path, overwrite=True) as part:
            part.write_bytes(safetensors.torch.save(tensors, metadata=header))


def load(path: str | Path, families: tuple[type[Method], ...], *, with_weights: bool = True) -> Model:
    """Read a model.

    Parameters
    ----------
    path : str or Path
        A file written by `Model.save`.
    families : tuple of type
        Families the model's Method may belong to, with their members imported.
    with_weights : bool
        False to read only what the model says about itself, which is quick.

    Returns
    -------
    Model
        The model, weights on the CPU.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no model of this project, is truncated, or its method is unknown.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"There is no model file {source}.")
    try:
        with safe_open(source, framework="pt") as file:
            header = file.metadata() or {}
            names = [name for name in file.keys() if with_weights or name == THUMBNAIL]  # noqa: SIM118 - not a mapping
            weights = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{source} is no complete model file ({error}); it may have been cut off while copying.") from error
    if header.get("format") != FORMAT or not set(header) >= HEADER:
        raise ValueError(f"{source} is not a {FORMAT!r} file; expected one written by this program.")
    family = next((family for family in families if family.family == header["family"]), None)
    if family is None:
        raise ValueError(f"{source} holds a {header['family']}, expected a {' or '.join(f.family for f in families)}.")
    method, ndim, told = _told(header, family, source)
    thumbnail = weights.pop(THUMBNAIL, None)
    kept = {name.removeprefix(UNFINISHED): value for name, value in weights.items() if name.startswith(UNFINISHED)}
    weights = {name: value for name, value in weights.items() if not name.startswith(UNFINISHED)}
    if any(value.is_floating_point() and not bool(value.isfinite().all()) for value in weights.values()):
        raise ValueError(f"{source} holds weights that are no numbers: its training failed. Train it again, or choose another.")
    unfinished = Unfinished(kept, told["unfinished"]) if "unfinished" in told else None
    return Model(method, weights, ndim, told["statistics"], told["provenance"], unfinished, thumbnail)


def _told(header: Mapping[str, str], family: type[Method], source: Path) -> tuple[Method, int, dict[str, dict[str, Any]]]:
    """Method, number of axes and the JSON objects of a header."""
    try:
        method = family.coerce(json.loads(header["method"]))
        told = {name: json.loads(header[name]) for name in ("statistics", "provenance", "unfinished") if name in header}
        ndim = int(header["ndim"])
        strange = [name for name, entries in told.items() if not isinstance(entries, dict)]
        if strange or not method.kind or ndim not in (2, 3):
            raise ValueError(f"{strange[0] if strange else 'ndim' if method.kind else 'method'} is not as expected")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{source} is damaged, or of another version of this program ({error}); copy it again, or train a new model."
        ) from error
    return method, ndim, told


def origin(names: Sequence[str], **more: Any) -> dict[str, Any]:
    """Where a model comes from.

    Parameters
    ----------
    names : sequence of str
        Stacks it was trained on.
    **more
        Iterations, seed, ...

    Returns
    -------
    dict
        JSON-ready, with the program's version and the date.
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"trained_on": list(names), "version": version("napari-denoisereg"), "date": date, **more}
