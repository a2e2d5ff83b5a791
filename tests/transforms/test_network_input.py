"""A network's own attributes choose orientation and intensities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import nn

from medtl_monai.networks.factory import build_network
from medtl_monai.transforms.network_input import intensity_for, orientation_for
from medtl_monai.transforms.preprocessing import preprocessing
from medtl_monai.weights.registry import REGISTRY, PretrainedWeights, pretrained


def scan() -> MetaTensor:
    """Axes L, P, S: a first voxel at the right, front and bottom."""
    array = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(1, 2, 3, 4)
    return MetaTensor(array, affine=torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])))


def test_medicalnet_gets_superior_first_and_others_ras() -> None:
    image = scan()
    ras = np.flip(image.numpy(), axis=(1, 2))
    turned = orientation_for(build_network("unet_medicalnet_resnet10"), "image")({"image": image})["image"]
    assert np.array_equal(turned.numpy(), ras.transpose(0, 3, 2, 1))
    for network in (build_network("unet"), nn.Identity()):
        assert np.array_equal(orientation_for(network, "image")({"image": scan()})["image"].numpy(), ras)


def test_medicalnet_gets_what_its_registry_row_says() -> None:
    """Intensities of the bundle's own transforms and of the row's preprocessing are the same, voxel for voxel."""
    image = scan() ** 3
    network = build_network("classifier_medicalnet_resnet10")
    by_row = Compose(preprocessing(pretrained("medicalnet_resnet10").input.preprocessing, "image"))
    by_network = Compose([orientation_for(network, "image"), intensity_for(network, "image")])
    assert torch.equal(by_row({"image": image.clone()})["image"], by_network({"image": image.clone()})["image"])
    values = by_network({"image": image})["image"].double()
    clipped = np.clip(image.numpy(), *np.percentile(image.numpy(), (0.5, 99.5)))
    assert float(values.max()) == pytest.approx((clipped.max() - clipped.mean()) / clipped.std(), abs=1e-5)


def test_imagenet_gets_the_unit_interval_and_others_a_z_score() -> None:
    unit = intensity_for(build_network("unet_squeezenet1_0_i3d"), ["image"])({"image": scan()})["image"]
    assert (float(unit.min()), float(unit.max())) == (0.0, 1.0)
    for network in (build_network("unet"), nn.Identity()):
        scaled = intensity_for(network, ["image"])({"image": scan()})["image"]
        assert abs(float(scaled.mean())) < 1e-6
        assert abs(float(scaled.std(unbiased=False)) - 1.0) < 1e-5


@pytest.mark.parametrize("row", REGISTRY.values(), ids=list(REGISTRY))
def test_every_registry_row_names_a_preprocessing_that_its_network_can_take(row: PretrainedWeights) -> None:
    """The row chooses the transforms; what they give has the shape and the intensities that the row states."""
    image = MetaTensor(torch.rand(1, 9, 8, 7) * 900 + 1, affine=torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])))
    if row.input.spatial_dims == 2:
        image = MetaTensor(torch.rand(1, 40, 30) * 255)
    prepared = Compose(preprocessing(row.input.preprocessing, "image"))({"image": image})["image"]
    assert prepared.shape[0] == row.input.channels
    assert abs(float(prepared.mean())) < 1.0
    if row.input.orientation == "SAR":
        assert tuple(prepared.shape[1:]) == (7, 8, 9)
