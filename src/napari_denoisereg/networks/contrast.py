"""The contrast of blind predictions.

Trained on absolute differences a network predicts medians: what may be bright, but seldom is, has a median below its mean, and
bright places come out too dark. After a short training the contrast is off as well. Where a voxel was hidden from the network
its recorded value has no noise in common with the prediction, so the regression of the one on the other is that of the clean
value, and tells what the contrast should be.
"""

from torch import Tensor

MOST_CONTRAST = 2.0
"""Factor at most: a prediction that is weaker by more than that has not learnt yet, and its errors would grow, too."""


def missing_contrast(predicted: Tensor, noisy: Tensor) -> Tensor:
    """What predictions must be multiplied by to have the contrast of the truth: ``Σ p n / Σ p²`` of the centred predictions p.

    Parameters
    ----------
    predicted : Tensor
        ``(B, *any)``, the mean of each item zero; predicted without having seen the noise of ``noisy``.
    noisy : Tensor
        Same shape: what was recorded there.

    Returns
    -------
    Tensor
        ``(B, 1, …)``, 0 to `MOST_CONTRAST`; 0 where the prediction is even.
    """
    axes = tuple(range(1, predicted.ndim))
    power = predicted.square().mean(axes, keepdim=True)
    return ((predicted * noisy).mean(axes, keepdim=True) / power.clamp(min=1e-30)).clamp(0, MOST_CONTRAST)
