"""Device, random numbers, memory."""

import pytest
import torch

from napari_denoisereg import device as devices


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert devices.choose("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert devices.choose("cpu") == torch.device("cpu")


def test_unknown_and_absent_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Expected a device among"):
        devices.choose("abacus")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="not available on this machine"):
        devices.choose("cuda:0")


def test_seeded_repeats_itself_and_leaves_the_callers_random_numbers_alone() -> None:
    with torch.random.fork_rng():
        before = torch.random.get_rng_state()
        with devices.seeded(3):
            one = torch.rand(4)
        with devices.seeded(3):
            two = torch.rand(4)
        assert torch.equal(one, two)
        assert torch.equal(torch.random.get_rng_state(), before)


def test_generators_of_one_seed_draw_the_same_numbers() -> None:
    one, two = (torch.rand(4, generator=devices.generator(5)) for _ in range(2))
    assert torch.equal(one, two)


def test_free_memory_is_what_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.free_memory() > 0
    monkeypatch.setenv("DENOISEREG_MEMORY", "12345")
    assert devices.free_memory() == 12345


def test_a_gpu_out_of_memory_gets_smaller_batches_then_the_cpu() -> None:
    tried = list[tuple[int, str]]()

    def work(batch: int, device: torch.device) -> str:
        tried.append((batch, device.type))
        if device.type != "cpu":
            raise torch.OutOfMemoryError
        return "done"

    assert devices.retry_smaller(work, 4, torch.device("meta")) == "done"
    assert tried == [(4, "meta"), (2, "meta"), (1, "meta"), (1, "cpu")]


def test_a_cpu_out_of_memory_is_an_error() -> None:
    def work(batch: int, device: torch.device) -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        devices.retry_smaller(work, 4, torch.device("cpu"))
