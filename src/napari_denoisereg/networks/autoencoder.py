"""ssEMnet's convolutional autoencoder (its eq. 1 to 3): features of section images, learnt without labels.

``h = f(x)`` (eq. 1) by convolutions with ReLU, ``y = g(h)`` (eq. 2) by deconvolutions with ReLU, the mirror image of ``f``; no
fully connected layers, so images of any size fit. The paper names two: a deeper one with 3×3 filters (transmission EM) and
a shallower one of 6 layers with 7×7 filters (scanning EM). Numbers of kernels and strides stand in a figure that is not
readable in our copy; here, derived from the prose: the deep one has 10 layers and features at a quarter of the resolution, the
shallow one 6 layers (3 + 3) and features at half of it. The last layer has no ReLU, as standardised images are negative, too.

References
----------
Yoo, Hildebrand, Tobin, Lee, Jeong 2017, ssEMnet, doi:10.1007/978-3-319-67558-9_29.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Variant = Literal["deep", "shallow"]
LAYERS: dict[str, tuple[int, tuple[tuple[int, int], ...]]] = {
    "deep": (3, ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1))),
    "shallow": (7, ((16, 1), (32, 2), (64, 1))),
}
"""Filter size, then kernels and stride of each layer of the encoder."""


class Autoencoder(nn.Module):
    """Encoder and mirrored decoder.

    Parameters
    ----------
    ndim : int
        2 or 3.
    variant : {"deep", "shallow"}
        3×3 filters in 10 layers, or 7×7 filters in 6.
    """

    def __init__(self, ndim: int, variant: Variant = "deep") -> None:
        super().__init__()
        size, layers = LAYERS[variant]
        convolution, deconvolution = (nn.Conv2d, nn.ConvTranspose2d) if ndim == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        self.stride = 1
        encoder, decoder, before = list[nn.Module](), list[nn.Module](), 1
        for kernels, stride in layers:
            encoder += [convolution(before, kernels, size, stride, size // 2), nn.ReLU()]
            decoder = [deconvolution(kernels, before, size, stride, size // 2, stride - 1), nn.ReLU(), *decoder]
            before, self.stride = kernels, self.stride * stride
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder[:-1])

    def forward(self, images: Tensor) -> Tensor:
        """Encode and decode (eq. 1 and 2).

        Parameters
        ----------
        images : Tensor
            ``(B, 1, *spatial)``, standardised; sides are multiples of ``stride``.

        Returns
        -------
        Tensor
            Same shape.
        """
        return self.decoder(self.encoder(images))

    def features(self, images: Tensor) -> Tensor:
        """Encode (eq. 1); images of any size.

        Parameters
        ----------
        images : Tensor
            ``(B, 1, *spatial)``, standardised.

        Returns
        -------
        Tensor
            ``(B, C, *spatial / stride)``, rounded up.
        """
        return self.encoder(images)


def reconstruction_loss(network: Autoencoder, images: Tensor, decay: float) -> Tensor:
    """Eq. 3, with means in place of sums, so that ``decay`` does not depend on the number of pixels.

    ``mean ||x - y||² + λ (Σ_k ||θ_k||² + Σ_k ||φ_k||²)``, the second term over all filters of encoder and decoder.

    Parameters
    ----------
    network : Autoencoder
        The network.
    images : Tensor
        ``(B, 1, *spatial)``.
    decay : float
        ``λ``.

    Returns
    -------
    Tensor
        A scalar.
    """
    weights = [weight.square().sum() for name, weight in network.named_parameters() if name.endswith("weight")]
    return (images - network(images)).square().mean() + decay * torch.stack(weights).sum()
