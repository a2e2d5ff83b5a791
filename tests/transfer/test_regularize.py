"""Penalties against their formulas: autograd, the closed form of gradient descent, torch.linalg.svdvals."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.regularize import L2SP, BatchSpectralShrinkage, spectral_shrinkage, undecayed_groups

A, B = 0.1, 0.01


def parts(network: StagedNetwork) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Parameters that are shared, new, and of norm layers (those that follow their names in these networks)."""
    norm = {n: p for n, p in network.named_parameters() if p.ndim == 1 and is_norm(network, n)}
    rest = {n: p for n, p in network.named_parameters() if n not in norm}
    new = {n: p for n, p in rest.items() if network.stage_of(n) in ("decoder", "head")}
    return {n: p for n, p in rest.items() if n not in new}, new, norm


def is_norm(network: nn.Module, name: str) -> bool:
    return "Norm" in type(network.get_submodule(name.rpartition(".")[0])).__name__


def moved(network: StagedNetwork, seed: int = 1) -> StagedNetwork:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return network


@pytest.mark.parametrize("name", ["unet", "highres3dnet", "unet_squeezenet1_0", "classifier_resnet18"])
def test_l2_sp_is_the_formula(name: str) -> None:
    network = build_network(name).double()
    penalty = L2SP(network)
    shared, new, norm = parts(network)
    assert shared
    assert new
    assert norm
    start = {n: p.detach().clone() for n, p in network.named_parameters()}
    assert penalty.shared().item() == 0.0, "exactly, at step 0"
    assert penalty().item() == penalty.new().item() > 0

    moved(network)
    value = penalty()
    by_hand = A / 2 * sum(((shared[n] - start[n]) ** 2).sum() for n in shared) + B / 2 * sum(
        (p**2).sum() for p in new.values()
    )
    assert value.item() == pytest.approx(by_hand.item(), rel=1e-12)
    value.backward()
    for n, p in shared.items():
        torch.testing.assert_close(p.grad, A * (p.detach() - start[n]), rtol=1e-9, atol=1e-15)
    for p in new.values():
        torch.testing.assert_close(p.grad, B * p.detach(), rtol=1e-9, atol=1e-15)
    assert all(p.grad is None for p in norm.values()), "norm layers are in neither sum"


def test_gradient_descent_on_the_penalty_is_its_closed_form() -> None:
    """w - w0 shrinks by 1 - lr a per step, the new weights by 1 - lr b: what weight decay towards w0 does."""
    network = build_network("unet").double()
    start = {n: p.detach().clone() for n, p in network.named_parameters()}
    penalty = L2SP(network, a=0.5, b=0.25)
    moved(network)
    first = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        penalty().backward()
        optimizer.step()
    shared, new, norm = parts(network)
    for n, p in shared.items():
        torch.testing.assert_close(
            p.detach(), start[n] + (1 - 0.05) ** 20 * (first[n] - start[n]), rtol=1e-9, atol=1e-12
        )
    for n, p in new.items():
        torch.testing.assert_close(p.detach(), (1 - 0.025) ** 20 * first[n], rtol=1e-9, atol=1e-12)
    assert all(torch.equal(p, first[n]) for n, p in norm.items())


def test_nothing_decays_beside_l2_sp() -> None:
    """With no gradient at all AdamW leaves every weight where it is."""
    network = build_network("unet")
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(undecayed_groups(network, 0.1, 0.5))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert all(torch.equal(p, before[n]) for n, p in network.named_parameters())


def test_the_start_moves_with_the_module_and_is_in_no_checkpoint() -> None:
    network = build_network("unet")
    penalty = L2SP(network)
    assert penalty.state_dict() == {}
    assert list(penalty.parameters()) == [], "an optimiser over the loss would hold the network's parameters twice"
    shared = parts(network)[0]
    assert [b.shape for b in penalty.buffers()] == [p.shape for p in shared.values()]
    assert all(b.data_ptr() != p.data_ptr() for b, p in zip(penalty.buffers(), shared.values(), strict=True))
    penalty.to("meta")
    assert {b.device.type for b in penalty.buffers()} == {"meta"}
    assert {p.device.type for p in network.parameters()} == {"cpu"}


@pytest.mark.parametrize(("rows", "columns"), [(6, 20), (20, 6), (7, 7), (2, 512)])
@pytest.mark.parametrize("k", [1, 2])
def test_bss_is_the_smallest_singular_values_squared(rows: int, columns: int, k: int) -> None:
    matrix = np.random.default_rng(rows).normal(size=(rows, columns))
    smallest = np.sort(np.linalg.eigvalsh(matrix @ matrix.T if rows < columns else matrix.T @ matrix))[:k]
    value = spectral_shrinkage(torch.from_numpy(matrix), k)
    assert value.item() == pytest.approx(smallest.sum(), rel=1e-9)
    assert value.item() == pytest.approx(torch.linalg.svdvals(torch.from_numpy(matrix))[-k:].square().sum().item())


def test_bss_gradient_is_that_of_finite_differences() -> None:
    matrix = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    assert torch.autograd.gradcheck(lambda features: spectral_shrinkage(features, 2), matrix)


def test_bss_of_a_degenerate_batch() -> None:
    """Twice the same image: the smallest singular value is 0, and so is its gradient."""
    matrix = torch.randn(1, 9).repeat(2, 1).requires_grad_(True)
    value = spectral_shrinkage(matrix)
    assert value.item() < 1e-10
    value.backward()
    assert matrix.grad is not None
    assert bool((matrix.grad.abs() < 1e-4).all())
    assert spectral_shrinkage(torch.tensor([[float("nan"), 1.0], [0.0, 1.0]])).isnan(), "left to the guard of the loss"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bss_in_half_precision(dtype: torch.dtype) -> None:
    features = torch.randn(4, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value = spectral_shrinkage(features)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(torch.linalg.svdvals(features.double())[-1].square().item(), rel=1e-4)


def test_bss_watches_the_features_of_the_batch() -> None:
    network = build_network("classifier_squeezenet1_0").eval()
    penalty = BatchSpectralShrinkage(network)
    image = MetaTensor(torch.rand(3, 1, 48, 48, generator=torch.Generator().manual_seed(0)))
    network(image)
    value = penalty()
    features = network.features(image)
    assert features.shape[0] == 3
    expected = 1e-3 * torch.linalg.svdvals(features.detach().as_subclass(torch.Tensor))[-1].square()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert not isinstance(value, MetaTensor)
    value.backward()
    wanted = {n for n, _ in network.named_parameters() if network.stage_of(n) != "head"}
    assert {n for n, p in network.named_parameters() if p.grad is not None} == wanted
    assert penalty.state_dict() == {}
    assert list(penalty.parameters()) == []


def test_bss_suppresses_the_weakest_direction() -> None:
    """Gradient descent on it alone shrinks the smallest singular value and leaves the others: u s v^T, one term."""
    matrix = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    before = torch.linalg.svdvals(matrix).detach()
    for _ in range(10):
        (gradient,) = torch.autograd.grad(spectral_shrinkage(matrix), matrix)
        matrix.data -= 0.1 * gradient
    after = torch.linalg.svdvals(matrix).detach()
    torch.testing.assert_close(after[:3], before[:3], rtol=1e-9, atol=0)
    assert after[3].item() == pytest.approx(0.8**10 * before[3].item(), rel=1e-9)


def test_bss_and_the_size_of_batches() -> None:
    network = build_network("classifier_squeezenet1_0").eval()
    one, two = torch.rand(1, 1, 48, 48), torch.rand(2, 1, 48, 48)
    penalty = BatchSpectralShrinkage(network)
    with pytest.raises(ConfigError, match="no forward pass"):
        penalty()
    network(one)
    with pytest.raises(ConfigError, match=r"more than 1 images in a batch, got 1; raise --batch_size"):
        penalty()
    network(two)
    assert penalty().item() > 0
    network(one)
    assert penalty().item() == 0.0, "the last batch of an epoch may be small"


def test_a_watched_network_can_be_copied_in_the_middle_of_a_training() -> None:
    network = build_network("classifier_squeezenet1_0")
    penalty = BatchSpectralShrinkage(network)
    network(torch.rand(2, 1, 48, 48))
    twin = copy.deepcopy(network)
    torch.save(network, io.BytesIO())
    value = penalty().item()
    twin.eval()(torch.rand(2, 1, 48, 48))
    assert penalty().item() == value, "the copy is watched by a penalty of its own"
