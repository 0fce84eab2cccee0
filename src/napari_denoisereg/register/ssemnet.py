"""ssEMnet: serial sections aligned by what an autoencoder sees in them (its features), not by their grey values.

An autoencoder is trained on the sections (eq. 1 to 3, see `networks.autoencoder`). Then, for every section, a coarse map of
vectors ``v`` is changed by Adam until the features of the deformed section are those of its neighbours (eq. 5):

    ``L_v = Σ_i w_i M(T_v) ||f(I_i) - f(T_v(I_0))||² + α ||v||² + β ||∇v_x||² + γ ||∇v_y||²``

``M`` is the empty-space mask, resized to the feature map. Features are computed anew on the deformed section in every
iteration; the network does not change. *Loss drop*: the worst half of the features does not count at first, and that share is
halved in every iteration, so that dust and folds do not pull. With one neighbour this is eq. 4. Sums are means here,
vectors are counted in voxels and features in their variance, so that α, β, γ suit every image and every network.

The paper slides a window over the stack; it does not say which neighbours are references when. Here: in the first sweep the
``neighbours`` sections before, which are aligned already; in later sweeps as many on both sides. Only those are in memory.

References
----------
Yoo, Hildebrand, Tobin, Lee, Jeong 2017, ssEMnet, doi:10.1007/978-3-319-67558-9_29.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_denoisereg.frame_pool import FramePool
from napari_denoisereg.geometry import Displacement, Grid, Identity, PerFrame, Transform
from napari_denoisereg.geometry.control_grid import ControlGrid, Spread
from napari_denoisereg.method import setting
from napari_denoisereg.model import Model
from napari_denoisereg.networks.autoencoder import Autoencoder, Variant, reconstruction_loss
from napari_denoisereg.optimize import minimise
from napari_denoisereg.register.section_images import bent, placed, prepared
from napari_denoisereg.register.trained import Objective, TrainedRegistrar
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, Steps, portion
from napari_denoisereg.training_settings import number_in_a_step, patch_size, step_size, steps_at_most


class SsEMnet(TrainedRegistrar, kind="ssemnet"):
    """Aligns serial sections by learnt features, each to its neighbours. As published; trains first, needs rough alignment."""

    title: ClassVar[str] = "ssEMnet (learnt features, sections)"
    reference: ClassVar[str] = "https://doi.org/10.1007/978-3-319-67558-9_29"
    bends: ClassVar[bool | None] = True
    is_sectionwise: ClassVar[bool] = True
    network_settings: ClassVar[tuple[str, ...]] = ("variant",)

    variant: Variant = setting(
        "deep", "Network: deep with 3×3 filters (for transmission EM) or shallow with 7×7 (for scanning EM)."
    )
    neighbours: int = setting(
        2,
        "How many sections on each side a section is compared with (n of eq. 5); frames of a movie are compared in pairs.",
        ge=1,
        le=16,
    )
    falloff: float = setting(0.5, "How much less each more distant section counts (w of eq. 5); 0.5 is half.", gt=0, le=1)
    knots: float = setting(
        24.0, "Distance between the points that can move independently; smaller follows finer bends.", unit="px", ge=2, le=1024
    )
    interpolation: Spread = setting(
        "linear", "How the motion is filled in between these points; linear is the paper's default."
    )
    steps: int = setting(60, "Steps of optimisation per section.", ge=1, le=10_000)
    sweeps: int = setting(
        2, "How often to go through the stack; from the second time on, with neighbours on both sides.", ge=1, le=20
    )
    drop: float = setting(0.5, "Share of the worst features ignored at first, halved in every step (loss drop).", ge=0, lt=1)
    alpha: float = setting(1e-4, "Weight that keeps the motion small (α of eq. 5).", ge=0, le=1e6, advanced=True)
    beta: float = setting(0.02, "Weight that keeps motion along x smooth (β of eq. 5).", ge=0, le=1e6, advanced=True)
    gamma: float = setting(0.02, "Weight that keeps motion along y smooth (γ of eq. 5).", ge=0, le=1e6, advanced=True)
    step: float = setting(0.5, "Size of the optimisation steps.", unit="px", gt=0, le=100, advanced=True)
    iterations: int = steps_at_most(3000)
    decay: float = setting(1e-6, "Weight decay while training (λ of eq. 3).", ge=0, le=1, advanced=True)
    patch: int = patch_size()
    batch: int = number_in_a_step(4, "patches")
    learning_rate: float = step_size(1e-3)

    def _objective(self, network: Autoencoder, pool: FramePool, device: torch.device | str) -> Objective:
        """Eq. 3, judged on held-out patches."""
        aside = pool.hold_out(8, self.patch).to(device)
        return Objective(
            lambda _: reconstruction_loss(network, pool.patches(self.batch, self.patch).to(device), self.decay),
            lambda: float(reconstruction_loss(network, aside, 0.0)),
        )

    def _build(self, ndim: int) -> Autoencoder:
        return Autoencoder(ndim, self.variant)

    def align(
        self,
        fixed: Tensor,
        moving: Tensor,
        grid: Grid,
        *,
        start: Sequence[Transform] | None = None,
        model: Model | None = None,
    ) -> Steps[list[Transform]]:
        """Register a batch of pairs (eq. 4); see `Registrar.align`."""
        network = self._trained(grid.ndim, model, fixed.device)
        begin = list(start) if start is not None else [Identity(grid.ndim)] * len(fixed)
        found = list[Transform]()
        for number, known in enumerate(begin):
            one, two = prepared(fixed[number, None]), placed(prepared(moving[number, None])[0], known, grid)[None]
            steps = self._descend(network, two, one, torch.ones(1, device=fixed.device), grid)
            field = yield from portion(steps, number / len(begin), (number + 1) / len(begin))
            found.append(Displacement(field, grid).then(known))
        return found

    def align_movie(
        self,
        stack: Stack,
        *,
        start: PerFrame | None = None,
        model: Model | None = None,
        device: torch.device | str = "cpu",
    ) -> Steps[PerFrame]:
        """Register all sections (eq. 5); see `Registrar.align_movie`."""
        grid = stack.grid
        network = self._trained(grid.ndim, model, torch.device(device))
        known = list[Transform](start if start is not None else [Identity(grid.ndim)] * stack.n_frames)
        read = _remembered(lambda z: prepared(stack.tensor([z], device))[0], 2 * self.neighbours + 1)
        total, done = self.sweeps * (stack.n_frames - 1), 0
        for sweep in range(self.sweeps):
            for z in range(1, stack.n_frames):
                around = self._around(z, stack.n_frames, both_sides=sweep > 0)
                references = torch.stack([placed(read(other), known[other], grid) for other in around])
                weights = torch.tensor([self.falloff ** (abs(other - z) - 1) for other in around], device=references.device)
                moved = placed(read(z), known[z], grid)[None]
                descent = self._descend(network, moved, references, weights, grid)
                field = yield from portion(descent, done / total, (done + 1) / total, f"section {z}")
                known[z] = _joined(field, known[z], grid)
                done += 1
        yield Progress(1.0, 1.0, "sections aligned")
        return PerFrame(known)

    def _around(self, z: int, n: int, *, both_sides: bool) -> list[int]:
        last = min(n - 1, z + self.neighbours) if both_sides else z - 1
        return [other for other in range(max(0, z - self.neighbours), last + 1) if other != z]

    def _descend(self, network: Autoencoder, moving: Tensor, references: Tensor, weights: Tensor, grid: Grid) -> Steps[Tensor]:
        """Go down eq. 5: moving ``(1, 2, *)``, references ``(n, 2, *)``. The field ``(D, *spatial)``, world units."""
        px = min(grid.spacing)
        nodes = ControlGrid.over(grid, self.knots * px)
        vectors = torch.zeros(1, grid.ndim, *nodes.shape, device=moving.device, requires_grad=True)
        with torch.no_grad():
            wanted = network.features(references[:, :1])
            tissue = _resized(references[:, 1:], wanted)
            unit = wanted.var().clamp(min=torch.finfo(wanted.dtype).tiny)

        def loss(iteration: int) -> Tensor:
            deformed = bent(moving, nodes.dense(vectors, self.interpolation) * px, grid)
            seen = network.features(deformed[:, :1])
            mask = _resized(deformed[:, 1:].detach(), seen) * tissue
            error = (wanted - seen).square().mean(1, keepdim=True) / unit
            counted = mask * _kept(error.detach(), mask, self.drop * 0.5**iteration)
            alike = (error * counted).flatten(1).sum(1) / counted.flatten(1).sum(1).clamp(min=1e-6)
            return (weights * alike).sum() + self._penalty(vectors, [step / px for step in nodes.spacing])

        yield from minimise(
            [vectors],
            loss,
            iterations=self.steps,
            learning_rate=self.step,
            schedule=lambda done: 1 - 0.9 * done,
            stage="matching features",
        )
        with torch.no_grad():
            return nodes.dense(vectors, self.interpolation)[0] * px

    def _penalty(self, vectors: Tensor, spacing: Sequence[float]) -> Tensor:
        """``α ||v||² + β ||∇v_x||² + γ ||∇v_y||²``, means over the map."""
        total = self.alpha * vectors.square().mean()
        for component in range(vectors.shape[1]):
            weight = self.beta if component == vectors.shape[1] - 1 else self.gamma
            for axis, step in enumerate(spacing):
                if vectors.shape[axis + 2] > 1:
                    total = total + weight * (vectors[:, component].diff(dim=axis + 1) / step).square().mean()
        return total


def _resized(mask: Tensor, like: Tensor) -> Tensor:
    """The empty-space mask at the size of the feature map, linear."""
    mode = "bilinear" if mask.ndim == 4 else "trilinear"
    return F.interpolate(mask, like.shape[2:], mode=mode, align_corners=False)


def _kept(error: Tensor, mask: Tensor, rate: float) -> Tensor:
    """1 where features count, 0 for the worst share ``rate`` of each comparison ``(n, 1, *)``; empty space has no share."""
    kept = torch.ones_like(error)
    for number in range(len(error)):
        inside = error[number][mask[number] > 0]
        drop = int(rate * inside.numel())
        if drop:
            limit = inside.kthvalue(inside.numel() - drop).values
            kept[number] = (error[number] <= limit).to(error.dtype)
    return kept


def _joined(field: Tensor, known: Transform, grid: Grid) -> Transform:
    """One transform for "bend, then what was known", so that sweeps do not pile up fields."""
    joined = Displacement(field, grid).then(known)
    return joined if known.is_affine else Displacement(joined.displacement(grid), grid)


def _remembered(read: Callable[[int], Tensor], most: int) -> Callable[[int], Tensor]:
    """Read each section once while it is near: the sliding window."""
    kept = OrderedDict[int, Tensor]()

    def look(z: int) -> Tensor:
        if z not in kept:
            kept[z] = read(z)
            while len(kept) > most:
                kept.popitem(last=False)
        kept.move_to_end(z)
        return kept[z]

    return look
