"""The best linear head on frozen features, by L-BFGS on standardised features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.examples import Kept
from medtl_monai.transfer.head_fit import Loss, loss_of
from medtl_monai.transfer.linear_head import LinearLayer

STEPS, GRADIENT = 200, 1e-5


def solve_linear(
    network: StagedNetwork, layers: Sequence[LinearLayer], kept: Sequence[Kept], loss: Loss, penalty: float
) -> tuple[int, bool]:
    """Fit the last layers in the space of standardised features, where the problem is well conditioned.

    Args:
        network: with its source's stages frozen.
        layers: its last ones, see `linear_layers`.
        kept: the cases; the mean of their losses is minimised.
        loss: the task's.
        penalty: half of it times the squared weights of standardised features is added.

    Returns:
        Number of steps, and whether they ended before the most allowed.
    """
    spreads = [_Spread.of([one.features[index] for one in kept]) for index in range(len(layers))]
    with torch.no_grad(), _standardised(layers, spreads):
        scaled = [Kept(one.example, _standard(one.features, spreads)) for one in kept]
        weights = [layer.weight for layer in layers]
        optimizer = torch.optim.LBFGS(
            [*weights, _bias(layers)],
            max_iter=STEPS,
            max_eval=2 * STEPS,
            history_size=20,
            tolerance_grad=GRADIENT,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )

        def closure() -> float:
            optimizer.zero_grad()
            total = 0.0
            with torch.enable_grad():
                for one in scaled:
                    part = loss_of(network, one, loss) / len(scaled)
                    part.backward()
                    total += float(part.detach())
                ridge = 0.5 * penalty * torch.stack([weight.square().sum() for weight in weights]).sum()
                ridge.backward()
            return total + float(ridge.detach())

        optimizer.step(closure)
        steps = int(optimizer.state[weights[0]]["n_iter"])
        optimizer.zero_grad()
    return steps, steps < STEPS


@dataclass(frozen=True)
class _Spread:
    """Mean and standard deviation ``(F,)`` of features over all cases and voxels; 1 for one that does not vary."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(cls, maps: Sequence[torch.Tensor]) -> _Spread:
        rows = [tensor.double().transpose(0, 1).flatten(1) for tensor in maps]
        count = sum(row.shape[1] for row in rows)
        mean = torch.stack([row.sum(1) for row in rows]).sum(0) / count
        variance = torch.stack([(row - mean[:, None]).square().sum(1) for row in rows]).sum(0) / count
        constant = variance <= 1e-12 * mean.square()
        return cls(mean.float(), torch.where(constant, 1.0, variance.sqrt()).float())


def _standard(features: Sequence[torch.Tensor], spreads: Sequence[_Spread]) -> list[torch.Tensor]:
    shaped = [[1, -1, *[1] * (maps.dim() - 2)] for maps in features]
    return [
        (maps - spread.mean.reshape(shape)) / spread.deviation.reshape(shape)
        for maps, spread, shape in zip(features, spreads, shaped, strict=True)
    ]


def _bias(layers: Sequence[LinearLayer]) -> torch.Tensor:
    bias: torch.Tensor = layers[0].bias  # `linear_layers` gives none without
    return bias


@contextmanager
def _standardised(layers: Sequence[LinearLayer], spreads: Sequence[_Spread]) -> Iterator[None]:
    """Inside, the layers are meant for standardised features; they compute the same function before and after."""
    bias = _bias(layers)
    pairs = list(zip(layers, spreads, strict=True))
    scales = [spread.deviation.reshape([1, -1, *[1] * (layer.weight.dim() - 2)]) for layer, spread in pairs]
    for (layer, spread), scale in zip(pairs, scales, strict=True):
        bias += layer.weight.flatten(1) @ spread.mean
        layer.weight *= scale
    try:
        yield
    finally:
        for (layer, spread), scale in zip(pairs, scales, strict=True):
            layer.weight /= scale
            bias -= layer.weight.flatten(1) @ spread.mean
