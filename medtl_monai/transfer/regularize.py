"""Penalties that keep a fine-tuned network close to its source, or its features rid of what does not transfer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from medtl_monai.errors import ConfigError
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.transfer.param_groups import Group, parameter_groups, source_stages

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


class L2SP(nn.Module):
    """The penalty ``(a/2) |w - w0|^2 + (b/2) |v|^2`` (Li et al. 2018, arXiv:1802.01483).

    ``w`` are the parameters of the stages that a source fills, ``w0`` their values when this object is made, and ``v``
    those of the task's own stages; norm layers are in neither. It takes the place of weight decay.

    Make it after the source has been loaded and before a checkpoint is restored: ``w0`` is then that of the source in
    a resumed training too. ``w0`` moves with the module (``.to(device)``) and is in no state dict.

    Args:
        network: the network, with the weights of its source.
        a: strength towards the source.
        b: strength towards zero.
    """

    def __init__(self, network: StagedNetwork, a: float = 0.1, b: float = 0.01) -> None:
        super().__init__()
        self.a, self.b = a, b
        source = source_stages(network)
        norms = {
            id(parameter)
            for module in network.modules()
            if isinstance(module, _NORMS)
            for parameter in module.parameters(recurse=False)
        }
        # Plain lists: the parameters are the network's, not this module's.
        self._shared: list[nn.Parameter] = []
        self._new: list[nn.Parameter] = []
        for name, parameter in network.named_parameters():
            if id(parameter) not in norms:
                (self._shared if network.stage_of(name) in source else self._new).append(parameter)
        for index, parameter in enumerate(self._shared):
            self.register_buffer(f"start{index}", parameter.detach().clone(), persistent=False)

    def shared(self) -> torch.Tensor:
        """The scalar ``(a/2) |w - w0|^2``: exactly 0 before the first step."""
        starts = (self.get_buffer(f"start{index}") for index in range(len(self._shared)))
        return self.a / 2 * _sum_of_squares([now - start for now, start in zip(self._shared, starts, strict=True)])

    def new(self) -> torch.Tensor:
        """The scalar ``(b/2) |v|^2``."""
        return self.b / 2 * _sum_of_squares(self._new)

    def forward(self) -> torch.Tensor:
        """The penalty, a scalar."""
        return self.shared() + self.new()


def _sum_of_squares(tensors: list[Any]) -> torch.Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum()


def undecayed_groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    """The groups of :func:`parameter_groups` without weight decay: :class:`L2SP` takes its place."""
    return parameter_groups(network, lr=lr, weight_decay=0.0)


def spectral_shrinkage(features: torch.Tensor, k: int = 1) -> torch.Tensor:
    """The sum of the ``k`` smallest squared singular values of a matrix ``(B, D)``; it is computed in float32 at least.

    A matrix with values that are not finite gives NaN.
    """
    matrix = features.as_subclass(torch.Tensor)
    with torch.autocast(device_type=matrix.device.type, enabled=False):
        matrix = matrix if matrix.dtype == torch.float64 else matrix.float()
        if not bool(torch.isfinite(matrix).all()):
            return (matrix * float("nan")).sum()  # the decomposition would raise, without naming a case
        return torch.linalg.svdvals(matrix)[-k:].square().sum()


class BatchSpectralShrinkage(nn.Module):
    """Batch spectral shrinkage (Chen et al. 2019, NeurIPS, "Catastrophic Forgetting Meets Negative Transfer").

    The penalty is ``eta`` times :func:`spectral_shrinkage` of the pooled features of the batch: directions that carry
    little in the source's features are suppressed instead of being dragged along. A batch of ``k`` images or fewer
    (the last of an epoch) has no small singular values to speak of and adds 0.

    Args:
        network: a classifier; it is watched from now on.
        eta: strength.
        k: how many singular values.
    """

    def __init__(self, network: TransferClassifier, eta: float = 1e-3, k: int = 1) -> None:
        super().__init__()
        self.eta, self.k = eta, k
        self._features: torch.Tensor | None = None
        self._batches_fit = False
        network.class_head.register_forward_pre_hook(self._keep)

    def __getstate__(self) -> dict[str, Any]:
        """Copies of a watched network (averages of its weights) start without features: those belong to a graph."""
        return {**self.__dict__, "_features": None}

    def _keep(self, head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._features = inputs[0]

    def forward(self) -> torch.Tensor:
        """The penalty of the network's last batch, a scalar.

        Raises:
            ConfigError: the network has seen no batch, or the first one is not larger than ``k``.
        """
        if self._features is None:
            raise ConfigError("bss needs the features of a batch", got="no forward pass of the network before the loss")
        if len(self._features) > self.k:
            self._batches_fit = True
            return self.eta * spectral_shrinkage(self._features, self.k)
        if not self._batches_fit:
            raise ConfigError(
                "bss needs larger batches",
                expected=f"more than {self.k} images in a batch",
                got=len(self._features),
                remedy="raise --batch_size",
            )
        return self._features.new_zeros(())


def require_classifier(network: StagedNetwork) -> TransferClassifier:
    """The network itself. Raises ConfigError unless it pools its features into one vector per image."""
    if not isinstance(network, TransferClassifier):
        raise ConfigError(
            "strategy 'bss' works on one feature vector per image",
            expected="a network classifier_<encoder>, such as classifier_resnet18",
            got=network.architecture,
            remedy="for segmentation, `l2_sp` is the penalty that fits",
        )
    return network
