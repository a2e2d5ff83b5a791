"""The task's stages trained to convergence on features that are computed once: the first half of LP-FT."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from medtl_monai.errors import MedTLError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.examples import Example, Kept, body_frozen, kept_features
from medtl_monai.transfer.linear_head import LinearLayer, linear_layers
from medtl_monai.transfer.param_groups import parameter_groups

RIDGE = 1e-3
LINEAR_STEPS, GRADIENT = 200, 1e-5
EPOCHS, PATIENCE, IMPROVEMENT, RATE = 50, 5, 0.005, 3e-3
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class HeadFit:
    """How a head was fitted.

    Attributes:
        method: in words.
        examples: number of cases.
        loss_before: mean over cases of the task's loss with the initial head; NaN where it was not asked.
        loss: the same with the fitted head: what a training that starts there begins with.
        steps: steps of the optimiser.
        converged: whether the rule of convergence was met before the last step allowed.
    """

    method: str
    examples: int
    loss_before: float
    loss: float
    steps: int
    converged: bool

    def __str__(self) -> str:
        end = "converged" if self.converged else "NOT converged"
        return (
            f"{self.method} on {self.examples} cases: loss {self.loss_before:.4f} -> {self.loss:.4f}, "
            f"{self.steps} steps, {end}"
        )


def probe_to_convergence(network: StagedNetwork, examples: Iterable[Example], loss: Loss, *, seed: int = 0) -> HeadFit:
    """Train the head (and the decoder) of a network on the frozen features of unaugmented images.

    The body runs once over every image, in evaluation mode. A network that ends in one linear layer is solved on
    standardised features by L-BFGS with a small ridge penalty (1e-3 / 2 of the squared standardised weights), which has
    one solution where the loss is convex; a decoder is trained by AdamW, one case per step, until the mean loss of an
    epoch has not fallen by 0.5 % of the initial loss for 5 epochs (50 at most). Kumar et al. 2022 (arXiv:2202.10054):
    a head that is trained already spares the features the distortion that a random one causes.

    Args:
        network: filled from its source; its frozen stages and its mode are as before afterwards.
        examples: labelled cases; their features are kept in memory (on the network's device).
        loss: the task's loss, called with logits and label of one case, or of all cases where these are vectors.
        seed: of the order of the cases.

    Raises:
        DataError: no examples, or features that are not finite.
        ConfigError: the network cannot be run in two halves.
        MedTLError: the loss is not finite.
    """
    with body_frozen(network):
        kept = _stacked(kept_features(network, examples))
        cases = sum(len(one.example.label) for one in kept)
        before = mean_loss(network, kept, loss)
        layers = linear_layers(network)
        if layers is not None:
            method, (steps, converged) = "linear head by L-BFGS", _solve(network, layers, kept, loss)
        else:
            method, (steps, converged) = "decoder and head by AdamW", _train(network, kept, loss, seed, before)
        after = mean_loss(network, kept, loss)
    if not math.isfinite(after):
        raise MedTLError("the probe diverged", expected="a finite loss", got=after, remedy="look at the images' values")
    return HeadFit(method, cases, before, after, steps, converged)


def _stacked(kept: Sequence[Kept]) -> list[Kept]:
    """All cases of a classifier as one batch; cases of a segmentation stay apart, their sizes differ."""
    if kept[0].example.label.dim() != 1:
        return list(kept)
    features = [torch.cat([one.features[0] for one in kept])]  # pooled: one vector for every image
    labels = torch.cat([one.example.label for one in kept])
    # The head of a classifier does not look at the image.
    return [Kept(Example("all", "all", kept[0].example.image, labels), features)]


@torch.no_grad()
def mean_loss(network: StagedNetwork, kept: Sequence[Kept], loss: Loss) -> float:
    """Mean over the cases of the task's loss."""
    values = [_loss_of(network, one, loss) for one in kept]
    return float(torch.stack(values).mean())


def _loss_of(network: StagedNetwork, one: Kept, loss: Loss) -> torch.Tensor:
    return loss(network.task_output(one.features, one.example.image), one.example.label)


def _solve(network: StagedNetwork, layers: Sequence[LinearLayer], kept: Sequence[Kept], loss: Loss) -> tuple[int, bool]:
    """Fit the last layers in the space of standardised features, where the problem is well conditioned."""
    spreads = [_Spread.of([one.features[index] for one in kept]) for index in range(len(layers))]
    with torch.no_grad(), _standardised(layers, spreads):
        scaled = [Kept(one.example, _standard(one.features, spreads)) for one in kept]
        weights = [layer.weight for layer in layers]
        optimizer = torch.optim.LBFGS(
            [*weights, _bias(layers)],
            max_iter=LINEAR_STEPS,
            max_eval=2 * LINEAR_STEPS,
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
                    part = _loss_of(network, one, loss) / len(scaled)
                    part.backward()
                    total += float(part.detach())
                ridge = 0.5 * RIDGE * torch.stack([weight.square().sum() for weight in weights]).sum()
                ridge.backward()
            return total + float(ridge.detach())

        optimizer.step(closure)
        steps = int(optimizer.state[weights[0]]["n_iter"])
        optimizer.zero_grad()
    return steps, steps < LINEAR_STEPS


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


def _train(network: StagedNetwork, kept: Sequence[Kept], loss: Loss, seed: int, start: float) -> tuple[int, bool]:
    """Train decoder and head by AdamW until the loss of an epoch stands still."""
    optimizer = torch.optim.AdamW(parameter_groups(network, lr=RATE, weight_decay=0.01), lr=RATE)
    order = torch.Generator().manual_seed(seed)
    best, since, steps = math.inf, 0, 0
    network.train()
    try:
        for _ in range(EPOCHS):
            total = 0.0
            for index in torch.randperm(len(kept), generator=order).tolist():
                optimizer.zero_grad()
                value = _loss_of(network, kept[index], loss)
                value.backward()
                optimizer.step()
                total, steps = total + float(value.detach()), steps + 1
            mean = total / len(kept)
            if not math.isfinite(mean):
                break
            best, since = (mean, 0) if mean < best - IMPROVEMENT * start else (best, since + 1)
            if since == PATIENCE:
                return steps, True
    finally:
        optimizer.zero_grad()
        network.eval()
    return steps, False
