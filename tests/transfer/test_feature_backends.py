"""Backends of frozen features against the encoder itself, and what they must refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.features import FrozenFeatures, extract
from tests.networks.toy_encoder import ToyEncoder

installed = pytest.mark.skipif(find_spec("openvino") is None, reason="the optional package openvino is not installed")
BACKENDS = ["traced", pytest.param("openvino", marks=installed)]
WITHOUT_NETWORK = """
import sys, torch
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.features import FrozenFeatures
features = FrozenFeatures(build_network("classifier_resnet18"), backend="openvino")(torch.rand(1, 1, 32, 32))
assert features.shape == (1, 512) and "openvino" in sys.modules
assert not [name for name in sys.modules if name.split(".")[0] == "openvino_telemetry"], "statistics are sent"
"""


class ChangesUnderTrace(ToyEncoder):
    """Planted defect: what a backend is made of computes something else."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [maps * (1.0 + 0.01 * torch.jit.is_tracing()) for maps in super().forward(image)]


class Singular(ToyEncoder):
    """Its deepest level needs an operation that OpenVINO does not have."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        maps = super().forward(image)
        return [*maps[:-1], maps[-1] * torch.linalg.svdvals(maps[-1].flatten(2)).sum()]


def images(count: int = 2, size: int = 16, dims: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, *[size] * dims, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_equal_to_the_encoder_for_other_images_and_shapes(dims: int, backend: str) -> None:
    torch.manual_seed(0)
    encoder = ToyEncoder(dims)
    fast, plain = FrozenFeatures(encoder, backend=backend), FrozenFeatures(encoder)
    for batch in (images(2, 16, dims, 3), images(2, 16, dims, 6), images(1, 16, dims, 4), images(3, 19, dims, 5)):
        torch.testing.assert_close(fast(batch), plain(batch), atol=1e-5, rtol=1e-5)
    assert encoder.levels[0][0].weight.is_contiguous()  # the network itself keeps its layout
    assert encoder.training
    assert not fast(images(2, 16, dims)).requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "level", "pool"),
    [
        ("resnet18", -1, "mean"),
        ("squeezenet1_0", -1, "max"),
        ("convnext_tiny", 1, "mean"),
        ("swin_t", -1, "mean"),
        ("resnet18_acs", 2, "max"),
        ("medicalnet_resnet10", -1, "mean"),
        ("highres3dnet", -1, "mean"),
    ],
)
def test_equal_to_the_encoder_of_real_architectures(name: str, level: int, pool: str, backend: str) -> None:
    torch.manual_seed(0)
    network = build_network(f"classifier_{name}")
    encoder = network.encoder
    first, second = (images(2, 32 if encoder.spatial_dims == 2 else 16, encoder.spatial_dims, seed) for seed in (1, 2))
    fast, plain = FrozenFeatures(network, level, pool, backend=backend), FrozenFeatures(network, level, pool)
    for batch in (first, second):
        expected = plain(batch)
        assert (fast(batch) - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_handed_out_stay_as_they_were(backend: str) -> None:
    """A backend's output buffer is used again by the next batch."""
    fast = FrozenFeatures(ToyEncoder(), backend=backend)
    first = fast(images(seed=1))
    kept = first.clone()
    fast(images(seed=2))
    assert torch.equal(first, kept)


@pytest.mark.parametrize("backend", BACKENDS)
def test_new_weights_are_followed(backend: str) -> None:
    encoder = ToyEncoder()
    fast = FrozenFeatures(encoder, backend=backend)
    old = fast(images())
    encoder.load_state_dict({name: tensor * 1.5 for name, tensor in encoder.state_dict().items()})
    assert not torch.allclose(fast(images()), old)
    torch.testing.assert_close(fast(images()), FrozenFeatures(encoder)(images()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_features_are_refused(backend: str) -> None:
    encoder = ChangesUnderTrace().eval()
    fast = FrozenFeatures(encoder, backend=backend)
    with pytest.raises(ConfigError, match="other features than the encoder itself"):
        fast(images())
    encoder.levels[3][1].weight.data.mul_(1e-9)  # small features, small differences: as wrong as before
    assert 0 < FrozenFeatures(encoder)(images()).max() < 1e-6
    with pytest.raises(ConfigError, match=r'within 0.0001 .*backend="eager"'):
        fast(images())


@pytest.mark.parametrize("backend", ["eager", *BACKENDS])
def test_a_broken_image_is_named_by_every_backend(backend: str) -> None:
    broken = images(3)
    broken[1, 0, 3, 3, 3] = torch.nan
    with pytest.raises(DataError, match=r"rows \[1\]"):
        extract(FrozenFeatures(ToyEncoder().eval(), backend=backend), [broken])


@pytest.mark.parametrize("backend", BACKENDS)
def test_metatensors_and_strided_images(backend: str) -> None:
    torch.manual_seed(0)
    encoder = ToyEncoder()
    fast, batch = FrozenFeatures(encoder, backend=backend), images()
    expected = FrozenFeatures(encoder)(batch)
    found = fast(MetaTensor(batch))
    assert type(found) is torch.Tensor
    torch.testing.assert_close(found, expected)
    strided = batch.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    assert not strided.is_contiguous()
    torch.testing.assert_close(fast(strided), expected)


@installed
def test_openvino_refuses_what_it_cannot_compute() -> None:
    with pytest.raises(ConfigError, match=r"expected an encoder with float32 .*got torch.float64"):
        FrozenFeatures(ToyEncoder().double(), backend="openvino")(images())
    with pytest.raises(ConfigError, match=r"OpenVINO cannot run this encoder; .*aten::linalg_svdvals"):
        FrozenFeatures(Singular(), backend="openvino")(images())
    np.testing.assert_array_equal(FrozenFeatures(Singular())(images()).shape, (2, 32))


def test_openvino_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)  # what Python does for a package that is not installed
    with pytest.raises(ConfigError, match=r"needs the package openvino; .*pip install 'medtl-monai\[openvino\]'"):
        FrozenFeatures(ToyEncoder(), backend="openvino")
    FrozenFeatures(ToyEncoder(), backend="traced")(images())


@installed
def test_openvino_sends_no_statistics(tmp_path: Path) -> None:
    """Imported as usual it writes an identity into the home folder and reports itself; here it does neither."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_NETWORK], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()
