"""The task's stages trained to convergence on features that are computed once: the first half of LP-FT."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from medtl_monai.errors import MedTLError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.examples import Example, Kept, body_frozen, kept_features
from medtl_monai.transfer.head_fit import HeadFit, Loss, loss_of, mean_loss
from medtl_monai.transfer.linear_head import LinearLayer, linear_layers
from medtl_monai.transfer.linear_solve import solve_linear
from medtl_monai.transfer.param_groups import parameter_groups
from medtl_monai.transfer.penalty import Penalty, choose_penalty

OF_VOXELS = Penalty(1e-3, "fixed: voxels outnumber features")
EPOCHS, PATIENCE, IMPROVEMENT, RATE = 50, 5, 0.005, 3e-3


def probe_to_convergence(network: StagedNetwork, examples: Iterable[Example], loss: Loss, *, seed: int = 0) -> HeadFit:
    """Train the head (and the decoder) of a network on the frozen features of unaugmented images.

    The body runs once over every image, in evaluation mode. A network that ends in one linear layer is solved on
    standardised features by L-BFGS with a ridge penalty (half of it times the squared standardised weights), which has
    one solution where the loss is convex; the penalty of a classifier is chosen on held-out patients
    (`transfer/penalty.py`), that of voxels is 1e-3. A decoder is trained by AdamW, one case per step, until the mean
    loss of an epoch has not fallen by 0.5 % of the initial loss for 5 epochs (50 at most). Kumar et al. 2022
    (arXiv:2202.10054): a head that is trained already spares the features the distortion that a random one causes.

    Args:
        network: filled from its source; its frozen stages and its mode are as before afterwards.
        examples: labelled cases; their features are kept in memory (on the network's device).
        loss: the task's loss, called with logits and label of one case, or of all cases where these are vectors.
        seed: of the order of the cases, and of the folds of patients.

    Raises:
        DataError: no examples, or features that are not finite.
        ConfigError: the network cannot be run in two halves.
        MedTLError: the loss is not finite.
    """
    with body_frozen(network):
        single = kept_features(network, examples)
        kept = _stacked(single)
        cases = sum(len(one.example.label) for one in kept)
        before = mean_loss(network, kept, loss)
        layers = linear_layers(network)
        if layers is not None:
            penalty = _penalty(network, layers, single, kept, loss, seed)
            method = f"linear head by L-BFGS, {penalty}"
            steps, converged = solve_linear(network, layers, kept, loss, penalty.value)
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


def _penalty(
    network: StagedNetwork,
    layers: Sequence[LinearLayer],
    single: Sequence[Kept],
    stacked: Sequence[Kept],
    loss: Loss,
    seed: int,
) -> Penalty:
    """Penalty of a head; the layers are as before afterwards."""
    if stacked[0].example.label.dim() != 1:
        return OF_VOXELS
    (whole,) = stacked
    initial = [{name: tensor.clone() for name, tensor in layer.state_dict().items()} for layer in layers]

    def restore() -> None:
        for layer, state in zip(layers, initial, strict=True):
            layer.load_state_dict(state)

    def held_out_loss(value: float, train: np.ndarray, test: np.ndarray) -> float:
        restore()
        solve_linear(network, layers, [_rows(whole, train)], loss, value)
        return mean_loss(network, [_rows(whole, test)], loss)

    patients = [one.example.patient for one in single for _ in one.example.label]
    try:
        return choose_penalty(whole.example.label.tolist(), patients, held_out_loss, seed)
    finally:
        restore()


def _rows(whole: Kept, index: np.ndarray) -> Kept:
    """Some of the images of a stacked batch."""
    places = torch.from_numpy(index)
    example = Example("some", "some", whole.example.image, whole.example.label[places])
    return Kept(example, [tensor[places] for tensor in whole.features])


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
                value = loss_of(network, kept[index], loss)
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
