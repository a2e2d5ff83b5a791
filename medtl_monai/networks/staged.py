"""What every network of the library has in common: an ordered list of stages that can be frozen."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torchvision.ops import StochasticDepth

from medtl_monai.errors import ConfigError
from medtl_monai.networks.padding import crop_to

_STILL_WHEN_FROZEN = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, _DropoutNd, StochasticDepth)


class StagedNetwork(nn.Module):
    """Base class of networks whose sub-modules are grouped into stages, in order from the stem to the head.

    Frozen means three things at once: no gradient, normalisation layers in evaluation mode (their running statistics
    stand still), dropout and stochastic depth off. All three survive ``network.train()``, which training engines call
    before every step.

    Attributes:
        architecture: name under which :func:`medtl_monai.networks.factory.build_network` builds this network.
        stages: stage name -> names of the sub-modules (or single parameters) in it; the last stage is the task head.
        in_channels: number of input channels.
        out_channels: number of output channels (classes, background included).
        dropout: dropout probability in use.
        intensity: the intensities it expects: a key of :data:`medtl_monai.transforms.preprocessing.INTENSITIES`.
        orientation: the direction of its input's array axes, such as ``"RAS"``; empty where any will do.
    """

    # Set in __init__, not annotated in the class body: torch.jit.script reads class annotations and properties.
    __jit_unused_properties__ = ("frozen_stages", "head", "task_stages")
    architecture = ""

    def __init__(self) -> None:
        super().__init__()
        self.stages = dict[str, tuple[str, ...]]()
        self.in_channels = 0
        self.out_channels = 0
        self.dropout = 0.0
        self.intensity = "zscore"
        self.orientation = "RAS"
        self._frozen = tuple[str, ...]()

    @property
    def frozen_stages(self) -> tuple[str, ...]:
        """Names of the frozen stages, in network order."""
        return self._frozen

    @property
    def head(self) -> str:
        """Name of the last stage, the one a new task re-initialises."""
        return list(self.stages)[-1]

    @property
    def task_stages(self) -> tuple[str, ...]:
        """Names of the stages that a new task trains from initial weights; here the head alone."""
        return (self.head,)

    def stage_modules(self, stage: str) -> Iterator[nn.Module]:
        """Yield the sub-modules of a stage. Raises ConfigError on a name that is not in :attr:`stages`."""
        if stage not in self.stages:
            raise ConfigError(
                f"network {self.architecture!r} has no stage {stage!r}",
                expected="one of " + ", ".join(self.stages),
                got=stage,
            )
        for name in self.stages[stage]:
            member = operator.attrgetter(name)(self)
            if isinstance(member, nn.Module):
                yield member

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """Yield the parameters of a stage. Raises ConfigError on a name that is not in :attr:`stages`."""
        for module in self.stage_modules(stage):
            yield from module.parameters()
        for name in self.stages[stage]:
            member = operator.attrgetter(name)(self)
            if isinstance(member, nn.Parameter):
                yield member

    def stage_of(self, parameter_name: str) -> str:
        """Stage that holds a parameter or buffer, by its ``state_dict`` name. Raises ConfigError if there is none."""
        for stage, names in self.stages.items():
            if any(f"{parameter_name}.".startswith(f"{name}.") for name in names):
                return stage
        raise ConfigError(f"parameter {parameter_name!r} of {self.architecture!r} is in no stage")

    def freeze(self, stages: Iterable[str]) -> None:
        """Freeze exactly these stages; all others become trainable again."""
        wanted = set(stages)
        for stage in sorted(wanted):
            next(self.stage_modules(stage), None)  # an unknown name is an error before anything changes
        self._frozen = tuple(stage for stage in self.stages if stage in wanted)
        for stage in self.stages:
            for parameter in self.stage_parameters(stage):
                parameter.requires_grad_(stage not in wanted)
                if stage in wanted:
                    parameter.grad = None  # a left-over gradient would let Adam move a frozen parameter
        self.train(self.training)

    def task_input(self, image: torch.Tensor) -> list[torch.Tensor]:
        """What the source's stages hand to the task's, for an image ``(B, C, H, W[, D])``; here the head's input.

        With :meth:`task_output` it is the forward pass in two halves: features of a frozen body can be kept.

        Raises:
            ConfigError: the head is not one module that is called once with one tensor.
        """
        seen: list[torch.Tensor] = []
        modules = list(self.stage_modules(self.head))
        with contextlib.ExitStack() as hooks:
            for module in modules:
                hook = module.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
                hooks.callback(hook.remove)
            self(image)
        if len(modules) != 1 or len(seen) != 1:
            raise ConfigError(
                f"network {self.architecture!r} cannot be run in two halves",
                expected="one module as its head, called once with one tensor",
                got=f"{len(modules)} modules, {len(seen)} tensors",
            )
        return seen

    def task_output(self, features: list[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """The network's output from what :meth:`task_input` gave for the image."""
        (head,) = self.stage_modules(self.head)
        (given,) = features
        output = head(given)
        return output if output.dim() == 2 else crop_to(output, image)

    def train(self, mode: bool = True) -> StagedNetwork:
        """Set training mode everywhere except in the normalisation and dropout layers of frozen stages."""
        super().train(mode)
        for stage in self._frozen:
            for module in self.stage_modules(stage):
                for layer in module.modules():
                    if isinstance(layer, _STILL_WHEN_FROZEN):
                        layer.eval()
        return self


def require_dropout(probability: float) -> None:
    """Raise ConfigError unless a dropout probability is in [0, 1)."""
    if not 0.0 <= probability < 1.0:
        raise ConfigError("dropout probability out of range", expected="0 <= p < 1", got=probability)


def set_dropout(network: nn.Module, probability: float) -> None:
    """Set the probability of every dropout layer. Raises ConfigError outside [0, 1)."""
    require_dropout(probability)
    if isinstance(network, StagedNetwork):
        network.dropout = probability
    for layer in network.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = probability


def parameter_count(network: nn.Module) -> int:
    """Number of parameters (not buffers)."""
    return sum(parameter.numel() for parameter in network.parameters())
