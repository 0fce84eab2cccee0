"""Small data: flows find known motion, training goes on bit by bit with its teacher, moving structures are denoised."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_denoisereg.denoise import small_data
from napari_denoisereg.denoise.deep_temporal import DeepTemporal
from napari_denoisereg.denoise.optical_flow import LONGEST, Flows, _estimated, flow_of, optical_flow
from napari_denoisereg.denoise.small_data import SmallData
from napari_denoisereg.evaluation.image_quality import psnr
from napari_denoisereg.geometry import smooth
from napari_denoisereg.model import Model
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Steps, finish

STEP = (1.0, -2.0)
"""Motion from frame to frame, voxels."""


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The few iterations of a test go through all rounds."""
    monkeypatch.setattr(small_data, "LEAST", 1)
    monkeypatch.setattr(small_data, "WORTH", 0)


def texture(*shape: int) -> torch.Tensor:
    """Blobs of some voxels' size, values about ±1."""
    image = smooth(torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(2)), 1.5)[0, 0]
    return image / image.std()


def moving(n_frames: int = 6, noise: float = 0.5) -> tuple[np.ndarray, Stack]:
    """A texture that moves by `STEP`, clean and noisy, with spacings of 0.5."""
    whole = texture(80, 80).numpy()
    clean = np.stack([np.roll(whole, (-t, 2 * t), axis=(0, 1))[16:64, 16:64] for t in range(n_frames)])
    noisy = clean + np.random.default_rng(5).normal(0, noise, clean.shape)
    return clean, Stack(noisy.astype(np.float32), "tyx", spacing=(1.0, 0.5, 0.5))


@pytest.mark.parametrize("shape", [(48, 40), (96, 80), (12, 24, 24)])
def test_flow_finds_a_known_shift(shape: tuple[int, ...]) -> None:
    fixed = texture(*shape)
    shift = (1, -2, 1)[: len(shape)]
    flow = optical_flow(fixed, fixed.roll(shift, tuple(range(len(shape)))))
    inner = flow[(slice(None), *(slice(length // 4, -length // 4) for length in shape))]
    assert inner.flatten(1).median(1).values.tolist() == pytest.approx(shift, abs=0.15)


def test_axes_of_one_voxel_have_no_flow() -> None:
    flow = optical_flow(texture(1, 32, 32), texture(1, 32, 32))
    assert flow.shape == (3, 1, 32, 32)
    assert float(flow.abs().max()) < 1e-3


def test_flows_are_estimated_once_and_bounded_in_number() -> None:
    asked: list[int] = []
    frames = [texture(16, 16).roll(number, 0) for number in range(6)]

    def picture(_: int, frame: int) -> torch.Tensor:
        asked.append(frame)
        return frames[frame]

    flows = Flows(picture, kept=3 * 2 * 16 * 16)
    first = flows(0, 0, [1])
    assert torch.equal(flows(0, 0, [1]), first)
    assert asked == [0, 1]
    flows(0, 0, [2, 3, 4, 5])
    assert len(flows._kept) == 3
    flows.clear()
    assert torch.equal(flows(0, 0, [1]), first)


@pytest.mark.parametrize("shape", [(40, 48), (300, 260), (10, 80, 72)])
def test_flows_of_a_part_are_those_of_the_frame_there_and_kept_coarse(shape: tuple[int, ...]) -> None:
    frames = [texture(*shape), texture(*shape).roll(1, -1)]
    flows = Flows(lambda _, frame: frames[frame])
    whole = flows(0, 0, [1])
    assert whole.shape == (1, len(shape), *shape)
    block = [slice(length // 4, length // 2) for length in shape]
    torch.testing.assert_close(flows(0, 0, [1], block), whole[(..., *block)], rtol=1e-4, atol=1e-4)
    kept = next(iter(flows._kept.values()))
    assert max(kept.shape[1:]) <= LONGEST[len(shape)]
    torch.testing.assert_close(whole[0], optical_flow(*frames, longest=LONGEST[len(shape)]), rtol=1e-4, atol=1e-4)


def test_refined_flow_is_in_world_units_from_each_frame_to_the_next() -> None:
    clean, stack = moving(3)
    flow = finish(flow_of(stack.with_data(clean.astype(np.float32))))
    assert len(flow) == 3
    middle = flow[0](torch.tensor([[12.0], [12.0]]).double())
    assert (middle[:, 0] - 12).tolist() == pytest.approx([-0.5, 1.0], abs=0.2)
    assert flow[2].is_identity


@pytest.fixture
def brief() -> Callable[..., SmallData]:
    """Makes the method with a tiny budget."""
    return lambda **more: SmallData(
        **{"iterations": 9, "seconds": 1e6, "patch": 16, "batch": 2, "features": 2, "every": 4, **more}
    )


def test_training_goes_on_bit_by_bit_through_the_rounds(brief: Callable[..., SmallData], impatient_steps: None) -> None:
    stack = moving(4)[1]
    whole = finish(brief().fit([stack]))
    for after in (2, 5, 7):
        steps: Steps[Model] = brief().fit([stack])
        for _ in range(after):
            training = next(steps).training
        assert training is not None
        start = training.unfinished()
        steps.close()
        resumed = finish(brief().fit([stack], start=start))
        assert all(torch.equal(weight, resumed.weights[name]) for name, weight in whole.weights.items()), after


def test_a_network_teaches_only_after_enough_iterations(
    brief: Callable[..., SmallData], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = moving(4)[1]
    assert bool(finish(brief().fit([stack])).weights["taught"])
    monkeypatch.setattr(small_data, "LEAST", 100)
    assert not bool(finish(brief().fit([stack])).weights["taught"])


def test_a_network_teaches_only_where_it_pays(brief: Callable[..., SmallData], monkeypatch: pytest.MonkeyPatch) -> None:
    stack = moving(4)[1]
    monkeypatch.setattr(small_data, "WORTH", 1)
    assert bool(finish(brief().fit([stack])).weights["taught"])  # 9216 voxels: the price of 4.5 iterations of 4 patches
    monkeypatch.setattr(small_data, "WORTH", 2)
    assert not bool(finish(brief().fit([stack])).weights["taught"])


def test_flows_count_in_the_budget(brief: Callable[..., SmallData], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that only flows and training steps move: nothing long happens before it runs or after it has run out."""
    seconds = [0.0]

    def timed(work: Callable[..., torch.Tensor], cost: float) -> Callable[..., torch.Tensor]:
        def slower(*given: object, **named: object) -> torch.Tensor:
            seconds[0] += cost
            return work(*given, **named)

        return slower

    monkeypatch.setattr("napari_denoisereg.denoise.optical_flow._estimated", timed(_estimated, 4.0))
    monkeypatch.setattr(SmallData, "_loss", timed(SmallData._loss, 2.0))
    monkeypatch.setattr("napari_denoisereg.optimize.time.monotonic", lambda: seconds[0])
    monkeypatch.setattr(small_data, "WORTH", 2)
    model = finish(brief(iterations=1000, seconds=200.0).fit([moving(6)[1]]))
    assert model.provenance["iterations_in_all"] > 10
    assert seconds[0] == pytest.approx(200, abs=4)  # one iteration too many at most


@pytest.mark.slow
def test_following_the_motion_beats_standing_still(brief: Callable[..., SmallData]) -> None:
    """The same few iterations for both video networks, on a texture that moves by two voxels per frame."""
    clean, stack = moving()
    budget = {"iterations": 60, "seconds": 1e6, "patch": 32, "reach": 1, "batch": 4, "every": 30}
    follows, stands = (
        np.asarray(finish(method.run(stack)).data) for method in (brief(features=8, **budget), DeepTemporal(**budget))
    )
    assert psnr(follows, clean) > psnr(stands, clean) + 2
    assert psnr(follows, clean) > psnr(stack.data, clean) + 2


@pytest.fixture
def impatient_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work yields after every iteration."""
    monkeypatch.setattr("napari_denoisereg.steps.Pace.is_due", lambda self, last=False: True)
