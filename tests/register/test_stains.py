"""Two stains of one specimen: what is bright in one image is dark in the other."""

import numpy as np
import pytest
import torch

from napari_denoisereg.geometry import smooth
from napari_denoisereg.losses import Similarity
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


@pytest.mark.parametrize("similarity", ["mind", "mutual_information"])
@pytest.mark.parametrize("kind", ["deep_affine", "voxelmorph"])
def test_an_inverted_image_is_found_and_not_thought_lost(kind: str, similarity: str) -> None:
    image = smooth(torch.randn(1, 1, 80, 80, generator=torch.Generator().manual_seed(0)), 2.5)[0, 0].numpy()
    stack = Stack(np.stack([image[8:72, 8:72], image.max() - image[10:74, 5:69]]), "tyx")
    method = Registrar.member(kind)(similarity=Similarity.member(similarity)(), iterations=10, every=10)
    found = finish(register_stack(stack, [method]))
    shift = found.transforms[1].displacement(stack.grid).mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(shift, [-2, 3], atol=0.3)
    assert found.flagged == ()
    assert found.quality["after"][1] > 0.8
