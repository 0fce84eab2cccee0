"""Binding: methods whose similarity needs an encoder get one, trained on the movie where none is named."""

from collections.abc import Sequence
from typing import TypeVar

import torch

from napari_denoisereg.encode.autoencoder import Autoencoder
from napari_denoisereg.encode.encoder import Encoder
from napari_denoisereg.losses import Similarity
from napari_denoisereg.losses.encoded import Encoded
from napari_denoisereg.method import Method
from napari_denoisereg.model import Model
from napari_denoisereg.networks.feature_net import frozen_encoder
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps

M = TypeVar("M", bound=Method)


def with_encoders(
    methods: Sequence[M], stack: Stack, *, models: Sequence[Model] = (), device: torch.device | str = "cpu"
) -> Steps[tuple[tuple[M, ...], tuple[Model, ...]]]:
    """Give every similarity among the settings of methods an encoder, where it needs one and names no model file.

    Parameters
    ----------
    methods : sequence of Method
        E.g. the registrars of a recipe.
    stack : Stack
        What to train on, without channel axis.
    models : sequence of Model
        The first encoder among them is used instead of training one without labels.
    device : torch.device or str
        Where to train.

    Returns
    -------
    Steps of (tuple of Method, tuple of Model)
        The methods, ready to use, and the model of the encoder that was given or trained; none where none is needed.

    Raises
    ------
    ValueError
        When an encoder is given that nothing would look through.
    """
    model = next((model for model in models if isinstance(model.method, Encoder)), None)
    if not any(_needy(method) for method in methods):
        if model is not None:
            kinds = ", ".join(kind for kind, member in Similarity.members().items() if issubclass(member, Encoded))
            raise ValueError(
                f"The model of the encoder {model.method.kind!r} was given, but no method here compares features by it; choose "
                f"a registrar with a similarity among {kinds} that names no file of its own, or leave the model out."
            )
        return tuple(methods), ()
    if model is None:
        model = yield from Autoencoder().fit([stack], device=device)
    model.expect(type(model.method), stack.grid.ndim)
    encoder = frozen_encoder(model.weights, model.ndim).to(device)
    ready = (
        method.model_copy(update={name: each.with_encoder(encoder) for name, each in _needy(method).items()})
        for method in methods
    )
    return tuple(ready), (model,)


def _needy(method: Method) -> dict[str, Encoded]:
    """Settings that are similarities without their encoder."""
    settings = {name: getattr(method, name) for name in type(method).model_fields}
    return {name: value for name, value in settings.items() if isinstance(value, Encoded) and not value.has_encoder}
