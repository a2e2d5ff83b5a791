"""Normalisation statistics taken anew from the target's training images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medtl_monai.errors import ConfigError, IntensityError


class _Moments:
    """Count, mean and sum of squared deviations per channel, joined batch by batch in float64.

    The rule of Chan, Golub & LeVeque (1979) for joining two samples; it does not cancel as ``E[x^2] - E[x]^2`` does.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.squares = torch.zeros(())

    def add(self, features: torch.Tensor) -> None:
        """Join the voxels of a batch ``(B, C, ...)``."""
        values = features.detach().to(torch.float64).transpose(0, 1).flatten(1)
        count, mean = values.shape[1], values.mean(dim=1)
        squares = (values - mean[:, None]).square().sum(dim=1)
        if self.count == 0:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        shift = mean - self.mean
        self.squares = self.squares + squares + shift.square() * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total


def _statistics_layers(network: nn.Module) -> dict[str, _BatchNorm]:
    layers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    if not layers:
        raise ConfigError(
            "this network has no batch normalisation with running statistics",
            expected="BatchNorm layers",
            got=type(network).__name__,
            remedy="leave the re-estimation out: other norms keep no statistics",
        )
    return layers


@contextmanager
def _batch_statistics_only(network: nn.Module, layers: Iterable[_BatchNorm]) -> Iterator[None]:
    """Everything in evaluation mode, the layers in training mode but with their buffers left alone; then as before."""
    modes = {module: module.training for module in network.modules()}
    tracking = {layer: layer.track_running_stats for layer in layers}
    try:
        for module in modes:
            module.training = module in tracking  # not network.eval(): frozen stages override it
        for layer in tracking:
            layer.track_running_stats = False
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, tracked in tracking.items():
            layer.track_running_stats = tracked


def _gather(moments: _Moments, name: str, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    features = inputs[0]
    if features.numel() == features.shape[1]:
        raise ConfigError(
            f"layer {name!r} sees a single voxel, which has no variance",
            expected="more than one voxel per channel",
            got=f"features of shape {tuple(features.shape)}",
            remedy="use larger patches or more images per batch",
        )
    moments.add(features)


def _pass(network: nn.Module, batches: Iterable[torch.Tensor], device: torch.device) -> int:
    seen = 0
    with torch.no_grad():
        for batch in batches:
            network(batch.to(device))
            seen += 1
    if seen == 0:
        raise ConfigError("no batch to estimate normalisation statistics from", expected="at least one", got=0)
    return seen


def _write(layers: dict[str, _BatchNorm], moments: dict[str, _Moments], batches: int) -> None:
    reached = {name: value for name, value in moments.items() if value.count > 0}
    broken = [n for n, value in reached.items() if not bool(torch.isfinite(value.mean + value.squares).all())]
    if broken:
        raise IntensityError(
            "normalisation statistics are not finite",
            expected="finite features in every layer",
            got=f"{len(broken)} of {len(layers)} layers with NaN or infinity, the first {broken[0]!r}",
            remedy="check the images for NaN and infinity",
        )
    for name, value in reached.items():
        layer = layers[name]
        layer.running_mean.copy_(value.mean)
        layer.running_var.copy_(value.squares / (value.count - 1))  # unbiased, as PyTorch's own running variance
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked.fill_(batches)


def reestimate_norm(network: nn.Module, batches: Iterable[torch.Tensor], *, max_batches: int | None = None) -> None:
    """Replace the running mean and variance of every batch norm by those of the given images (AdaBN).

    Li et al. 2016, arXiv:1603.04779. To be fed with TRAINING images of the target, prepared as for training, never
    with validation or test images. One forward pass; inside it every batch norm normalises with the statistics of the
    batch at hand, so that no layer is judged by what stale statistics before it let through. The statistics are those
    of all voxels of all batches together, each voxel with equal weight, and so take in the differences between
    batches (``torch.optim.swa_utils.update_bn`` averages the variances within batches, and runs with dropout on).

    Dropout and stochastic depth stay off, no gradient is computed, parameters, module modes and frozen stages remain
    as they are; frozen batch norms get new statistics as well. A layer that the pass does not reach keeps its own.
    On any error the old statistics are still there.

    Args:
        network: called as ``network(batch)``; on any device.
        batches: images ``(B, C, H, W[, D])``; moved to the network's device.
        max_batches: use this many of them at most; None for all.

    Raises:
        ConfigError: no batch norm with running statistics, no batch, or a layer that sees one voxel only.
        IntensityError: statistics that are not finite.
    """
    layers = _statistics_layers(network)
    moments = {name: _Moments() for name in layers}
    device = next(iter(layers.values())).running_mean.device
    hooks = [layer.register_forward_pre_hook(partial(_gather, moments[name], name)) for name, layer in layers.items()]
    try:
        with _batch_statistics_only(network, layers.values()):
            seen = _pass(network, islice(batches, max_batches), device)
    finally:
        for hook in hooks:
            hook.remove()
    _write(layers, moments, seen)
