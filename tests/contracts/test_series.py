"""What every series promises: one transform per frame, the first the identity, every frame brought to the first."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_denoisereg.geometry import Affine, PerFrame, Translation
from napari_denoisereg.register import Registrar, Series, Task
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

MEMBERS = list(Series.members().values())
every_series = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.kind)


def drifting(axes: str, step: int = 1, count: int = 5) -> Stack:
    """A texture that drifts by whole voxels along x, with known transforms T(x) = x - drift."""
    random = np.random.default_rng(3)
    shape = (40, 60) if "z" not in axes or "t" not in axes else (6, 32, 52)
    places = np.indices(shape)
    body = np.exp(-sum(((p - s / 2) / (s / 2.5)) ** 4 for p, s in zip(places, shape, strict=True)))
    image = 100 + body * (200 + 150 * ndimage.gaussian_filter(random.normal(size=shape), 2) * 8)
    frames = [image[..., number * step : shape[-1] - (count - 1 - number) * step] for number in range(count)]
    spacing = (1.0, *(2.0,) * (len(shape) - 2), 0.5, 0.5)
    return Stack(np.stack(frames).astype(np.float32), axes, spacing, name="drifting")


def task(stack: Stack, start: PerFrame | None = None, batch: int = 16) -> Task:
    registrar = Registrar.coerce({"kind": "affine", "motion": "translation", "finest": 1})
    return Task(stack, registrar, None, start, torch.device("cpu"), batch)


@every_series
@pytest.mark.parametrize("axes", ["tyx", "zyx", "tzyx"])
@pytest.mark.parametrize("batch", [2, 16])
def test_every_frame_is_brought_to_the_first(member: type[Series], axes: str, batch: int) -> None:
    stack, seen = drifting(axes), list[Progress]()
    found = finish(member().run(task(stack, batch=batch)), seen.append)
    assert len(found) == stack.n_frames
    assert found[0].is_identity
    for number, transform in enumerate(found):
        offset = transform.weights[:, -1] / torch.tensor(stack.grid.spacing)
        wanted = torch.tensor([0.0] * (stack.grid.ndim - 1) + [-float(number)])
        assert float((offset - wanted).abs().max()) < 0.3
    assert seen[-1].done == seen[-1].total
    assert [one.fraction for one in seen] == sorted(one.fraction for one in seen)


@every_series
def test_two_frames_are_enough(member: type[Series]) -> None:
    stack = drifting("tyx").frame_range(0, 2)
    found = finish(member().run(task(stack)))
    assert len(found) == 2
    assert float(found[1].weights[1, -1]) == pytest.approx(-0.5, abs=0.1)


@every_series
def test_a_start_is_included(member: type[Series]) -> None:
    """A start a bit off for every frame ends where no start ends."""
    stack = drifting("tyx")
    start = PerFrame([Translation([0.0, 0.0]), *(Translation([0.2, -0.5 * number - 0.3]) for number in range(1, 5))])
    found = finish(member().run(task(stack, start)))
    assert [float(transform.weights[1, -1]) for transform in found] == pytest.approx(
        [-0.5 * number for number in range(5)], abs=0.15
    )


@every_series
def test_a_start_that_a_translation_cannot_make_is_kept(member: type[Series]) -> None:
    stack = drifting("tyx", step=0)
    turn = Affine.about(torch.tensor([[0.995, -0.0998], [0.0998, 0.995]]), torch.zeros(2), stack.grid.centre)
    start = PerFrame([Translation([0.0, 0.0]), *[turn] * 4])
    found = finish(member().run(task(stack, start)))
    for transform in list(found)[1:]:
        torch.testing.assert_close(transform.weights[:, :-1], turn.weights[:, :-1], atol=1e-6, rtol=0)


@every_series
def test_closing_at_any_yield_leaves_nothing_behind(member: type[Series], leaves_nothing: Callable) -> None:
    stack = drifting("tyx")
    before = stack.data.tobytes()
    assert leaves_nothing(lambda: member().run(task(stack, batch=2))) >= 2
    assert stack.data.tobytes() == before
