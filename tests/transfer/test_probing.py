"""The probe of LP-FT: the optimum of its problem, the loss that fine-tuning starts with, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.examples import Example
from medtl_monai.transfer.probing import probe_to_convergence
from medtl_monai.transfer.strategy import build_optimizer

CE = nn.CrossEntropyLoss()


def voxel_loss(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return CE(pred, target[:, 0].long())


def pictures(count: int = 10, size: tuple[int, ...] = (40, 40)) -> list[Example]:
    """Class 1 is brighter on average; every image has its own noise."""
    generator = torch.Generator().manual_seed(1)
    return [
        Example(
            f"p{index}",
            f"p{index}",
            torch.rand(1, 1, *size, generator=generator) * (0.6 + 0.2 * (index % 2)),
            torch.tensor([index % 2]),
        )
        for index in range(count)
    ]


def maps(count: int = 3, size: tuple[int, ...] = (20, 18, 16)) -> list[Example]:
    """A bright ball in noise."""
    generator = torch.Generator().manual_seed(2)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, length) for length in size], indexing="ij")
    examples = []
    for index in range(count):
        label = (sum(axis.square() for axis in axes) < 0.3 + 0.05 * index).float()[None, None]
        image = label + 0.5 * torch.randn(label.shape, generator=generator)
        examples.append(Example(f"m{index}", f"m{index}", image, label))
    return examples


CASES: dict[str, tuple[list[Example], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "classifier_squeezenet1_0": (pictures(), CE),
    "highres3dnet": (maps(), voxel_loss),
    "unet": (maps(), voxel_loss),
    "dense_medicalnet_resnet10": (maps(), voxel_loss),
    "unet_squeezenet1_0": (maps(3, (24, 24)), voxel_loss),
}


def loss_of(network: StagedNetwork, name: str) -> float:
    examples, loss = CASES[name]
    network.eval()
    with torch.no_grad():
        return float(np.mean([float(loss(network(one.image), one.label)) for one in examples]))


@pytest.mark.parametrize("name", CASES)
def test_fine_tuning_starts_with_the_loss_of_the_probe(name: str) -> None:
    examples, loss = CASES[name]
    network = build_network(name, out_channels=2, seed=3)
    build_optimizer(network, strategy="lp_ft", lr=1e-3)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    at_first = loss_of(network, name)
    network.train()
    fitted = probe_to_convergence(network, examples, loss)
    assert network.training
    assert network.frozen_stages == ()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert fitted.loss_before == pytest.approx(at_first, rel=1e-4)
    assert fitted.loss == pytest.approx(loss_of(network, name), rel=1e-3)
    assert fitted.loss < 0.9 * fitted.loss_before
    assert fitted.converged
    task = tuple(name for stage in network.task_stages for name in network.stages[stage])
    moved = {key for key, tensor in network.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved
    assert all(key.startswith(task) for key in moved)


def test_the_linear_head_is_the_optimum_that_another_optimiser_finds() -> None:
    """The ridge-penalised cross entropy on standardised features, minimised by scipy from zero."""
    examples = pictures(12)
    chosen = 1.0
    network = build_network("classifier_squeezenet1_0", out_channels=2).eval()
    with torch.no_grad():
        features = torch.cat([network.task_input(one.image)[0] for one in examples]).double().numpy()
    labels = np.array([int(one.label) for one in examples])
    scaled = (features - features.mean(0)) / np.where(features.std(0) > 1e-9, features.std(0), 1.0)

    def objective(flat: np.ndarray) -> float:
        weight, bias = flat[:-2].reshape(2, -1), flat[-2:]
        logits = scaled @ weight.T + bias
        logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return float(-logits[np.arange(len(labels)), labels].mean() + 0.5 * chosen * np.square(weight).sum())

    def gradient(flat: np.ndarray) -> np.ndarray:
        weight, bias = flat[:-2].reshape(2, -1), flat[-2:]
        logits = scaled @ weight.T + bias
        share = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        share[np.arange(len(labels)), labels] -= 1
        share /= len(labels)
        return np.concatenate([(share.T @ scaled + chosen * weight).ravel(), share.sum(0)])

    best = minimize(objective, np.zeros(2 * features.shape[1] + 2), jac=gradient, method="L-BFGS-B", tol=1e-12)
    fitted = probe_to_convergence(network, examples, CE)
    assert f"penalty {chosen:g} (chosen in 3 folds of patients)" in fitted.method
    weight = best.x[:-2].reshape(2, -1)
    logits = torch.as_tensor(scaled @ weight.T + best.x[-2:])
    assert fitted.loss == pytest.approx(float(CE(logits, torch.as_tensor(labels))), rel=0.001)


def test_another_order_of_cases_is_another_seed_and_one_seed_is_one_result() -> None:
    examples, loss = CASES["unet_squeezenet1_0"]
    states = []
    for seed in (0, 0):
        network = build_network("unet_squeezenet1_0", out_channels=2)
        probe_to_convergence(network, examples, loss, seed=seed)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_no_cases_and_features_that_are_not_finite() -> None:
    network = build_network("classifier_squeezenet1_0")
    with pytest.raises(DataError, match="no examples"):
        probe_to_convergence(network, [], CE)
    first, second, *rest = pictures()
    broken = Example(second.case, second.patient, second.image * float("nan"), second.label)
    with pytest.raises(DataError, match=r"not finite.*cases p1;"):
        probe_to_convergence(network, [first, broken, *rest], CE)


class Softened(StagedNetwork):
    """A network with something after its head."""

    architecture = "softened"

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.stages = {"body": ("body",), "head": ("last",)}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(image)).softmax(dim=1)


def test_a_network_that_goes_on_after_its_head_is_refused() -> None:
    example = Example("a", "a", torch.rand(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    with pytest.raises(ConfigError, match="'softened' does more after its head"):
        probe_to_convergence(Softened(), [example], voxel_loss)
