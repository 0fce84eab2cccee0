"""What every regularity promises: never negative, nothing to punish in a shift at rest, units do not matter."""

import pytest
import torch
from torch import Tensor

from napari_denoisereg.geometry import smooth
from napari_denoisereg.losses import Regularity

MEMBERS = list(Regularity.members().values())
every_regularity = pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.kind)
both_dimensions = pytest.mark.parametrize("ndim", [2, 3])
SPACING = {2: (0.5, 0.25), 3: (2.0, 0.5, 0.25)}
SHAPES = {2: (10, 12), 3: (5, 7, 6)}


def field(ndim: int, count: int = 4, size: float = 2.0) -> Tensor:
    """Random motion in world units, rough enough to fold."""
    random = torch.Generator().manual_seed(3)
    return size * smooth(torch.randn(count, ndim, *SHAPES[ndim], dtype=torch.float64, generator=random), 0.7)


@every_regularity
@both_dimensions
def test_one_value_per_item_and_never_below_zero(member: type[Regularity], ndim: int) -> None:
    value = member()(field(ndim), SPACING[ndim])
    assert value.shape == (4,)
    assert value.dtype == torch.float64
    assert bool((value >= 0).all())
    assert bool((value > 0).any())


@every_regularity
@both_dimensions
def test_no_motion_costs_nothing(member: type[Regularity], ndim: int) -> None:
    still = torch.zeros(3, ndim, *SHAPES[ndim], requires_grad=True)
    value = member()(still, SPACING[ndim])
    value.sum().backward()
    assert bool((value == 0).all())
    assert bool((still.grad == 0).all())


@every_regularity
@both_dimensions
def test_units_do_not_matter(member: type[Regularity], ndim: int) -> None:
    motion = field(ndim)
    micrometres = member()(motion, SPACING[ndim])
    nanometres = member()(1000 * motion, [1000 * step for step in SPACING[ndim]])
    torch.testing.assert_close(micrometres, nanometres)


@every_regularity
@both_dimensions
def test_axes_are_alike(member: type[Regularity], ndim: int) -> None:
    motion = field(ndim)
    turned = motion.flip(1).permute(0, 1, *range(motion.ndim - 1, 1, -1))
    torch.testing.assert_close(member()(motion, SPACING[ndim]), member()(turned, SPACING[ndim][::-1]))


@every_regularity
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 3, 3, 4, 3)])
def test_gradients_are_right(member: type[Regularity], shape: tuple[int, ...], generator: torch.Generator) -> None:
    motion = torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
    spacing = SPACING[shape[1]]
    assert torch.autograd.gradcheck(lambda displacement: member()(displacement, spacing), (motion,))


@every_regularity
@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 3, 1, 5, 6), (3, 2, 2, 2)])
def test_thin_fields_are_welcome(member: type[Regularity], shape: tuple[int, ...]) -> None:
    motion = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = member()(motion, [1.0] * shape[1])
    value.sum().backward()
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(motion.grad).all())


@every_regularity
def test_a_field_of_another_dimension_than_its_spacing_is_refused(member: type[Regularity]) -> None:
    with pytest.raises(ValueError, match="Expected a displacement"):
        member()(torch.zeros(1, 2, 4, 4), (1.0, 1.0, 1.0))
