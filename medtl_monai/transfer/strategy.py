"""Transfer strategies: what is frozen, how the rest is optimised and what the loss gains, under one name each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.lookup import look_up
from medtl_monai.networks.encoders import ENCODERS_2D, build_encoder
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer import bitfit, lora, ssf
from medtl_monai.transfer.examples import Example
from medtl_monai.transfer.feature_classifier import fit_features_logistic, fit_features_svm
from medtl_monai.transfer.gradual import gradual_groups, gradually_frozen
from medtl_monai.transfer.head_fit import HeadFit, Loss
from medtl_monai.transfer.linear_head import has_linear_head, no_linear_head
from medtl_monai.transfer.llrd import decayed_groups
from medtl_monai.transfer.param_groups import Group, parameter_groups, source_stages
from medtl_monai.transfer.probing import probe_to_convergence
from medtl_monai.transfer.regularize import L2SP, BatchSpectralShrinkage, require_classifier, undecayed_groups

FREEZE_TO = "freeze_to_"
_ENCODERS = (*ENCODERS_2D, "medicalnet_resnet10", "highres3dnet")  # one of each family, for a message


def _nothing_frozen(network: StagedNetwork) -> tuple[str, ...]:
    return ()


def _plain_groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    return parameter_groups(network, lr=lr, weight_decay=weight_decay)


def _leave(network: StagedNetwork) -> None:
    return None


class HeadFitter(Protocol):
    """Fits the head of a network on labelled examples."""

    def __call__(self, network: StagedNetwork, examples: Iterable[Example], loss: Loss, *, seed: int = 0) -> HeadFit:
        """``loss`` is the task's; the network's frozen stages and mode are as before afterwards."""
        ...


@dataclass(frozen=True)
class TransferStrategy:
    """How a network is trained from a source.

    A training builds the network, fills it from the source, calls :meth:`prepare`, and gives :attr:`groups` to the
    optimiser. ``frozen``, ``groups`` and ``unfreeze`` leave the network as it is. A strategy that does not fit a
    network raises ConfigError, in ``frozen`` at the latest, and says which networks it fits.

    Attributes:
        name: the word on the command line.
        summary: one sentence for reports.
        frozen: network -> the stages that are frozen at the start.
        groups: (network, lr, weight_decay) -> parameter groups of what trains.
        wrap: puts adapters into the network, once however often it is called; they train in frozen stages too.
        penalty: network -> a module whose ``forward()`` is the scalar that the loss gains, or None.
        unfreeze: (network, step) -> the stages that are frozen in a step (an epoch, from 1); None: always ``frozen``.
        fit: fits the head on frozen features before the first step; None: it starts from initial weights.
        steps: whether steps of the optimiser follow.
        linear_head: whether the network has to end in one linear layer.
    """

    name: str
    summary: str
    frozen: Callable[[StagedNetwork], tuple[str, ...]] = _nothing_frozen
    groups: Callable[[StagedNetwork, float, float], list[Group]] = _plain_groups
    wrap: Callable[[StagedNetwork], None] = _leave
    penalty: Callable[[StagedNetwork], nn.Module | None] = _leave
    unfreeze: Callable[[StagedNetwork, int], tuple[str, ...]] | None = None
    fit: HeadFitter | None = None
    steps: bool = True
    linear_head: bool = False

    def prepare(self, network: StagedNetwork) -> None:
        """Wrap, and freeze what is frozen at the start (no gradient, norm statistics still, dropout off).

        Everything else trains, whatever was frozen before. Raises ConfigError, with the network unchanged, if the
        strategy does not fit it.
        """
        self.frozen(network)
        self.wrap(network)
        network.freeze(self.frozen(network))

    def optimizer(self, network: StagedNetwork, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) over the trainable parameters alone.

        The network has to hold the source's weights already: learning rates follow their size, see
        :func:`medtl_monai.transfer.param_groups.parameter_groups`.
        """
        self.prepare(network)
        return torch.optim.AdamW(self.groups(network, lr, weight_decay), lr=lr)


def _frozen_under_linear_head(network: StagedNetwork) -> tuple[str, ...]:
    if not has_linear_head(network):
        raise no_linear_head(network)
    return source_stages(network)


def _frozen_for_bss(network: StagedNetwork) -> tuple[str, ...]:
    require_classifier(network)
    return ()


STRATEGIES: dict[str, TransferStrategy] = {
    strategy.name: strategy
    for strategy in (
        TransferStrategy("scratch", "every stage trains from initial weights: what any transfer has to beat"),
        TransferStrategy("fine_tune", "every stage trains, starting from the source"),
        TransferStrategy(
            "linear_probe",
            "only the new head (and decoder) trains on the source's frozen features",
            frozen=source_stages,
        ),
        TransferStrategy(
            "cached_probe",
            "the new head (and decoder) is trained to convergence on features computed once; nothing else is trained",
            frozen=source_stages,
            fit=probe_to_convergence,
            steps=False,
        ),
        TransferStrategy(
            "lp_ft",
            "the new head (and decoder) is trained to convergence on the frozen source, then every stage trains",
            fit=probe_to_convergence,
        ),
        TransferStrategy(
            "features_logistic",
            "logistic regression on the source's frozen features is the head; nothing else is trained",
            frozen=_frozen_under_linear_head,
            fit=fit_features_logistic,
            steps=False,
            linear_head=True,
        ),
        TransferStrategy(
            "features_svm",
            "a linear support vector machine on the source's frozen features is the head; nothing else is trained",
            frozen=_frozen_under_linear_head,
            fit=fit_features_svm,
            steps=False,
            linear_head=True,
        ),
        TransferStrategy(
            "llrd",
            "every stage trains, at a learning rate that falls by 0.75 per stage from the head to the stem",
            groups=decayed_groups,
        ),
        TransferStrategy(
            "gradual_unfreeze",
            "the new head (and decoder) trains from the start, then one more stage per epoch, the deepest first",
            frozen=partial(gradually_frozen, step=1),
            groups=gradual_groups,
            unfreeze=gradually_frozen,
        ),
        TransferStrategy(
            "l2_sp",
            "every stage trains, drawn towards the source's weights instead of towards zero",
            groups=undecayed_groups,
            penalty=L2SP,
        ),
        TransferStrategy(
            "bss",
            "every stage trains, and the weakest direction of the batch's features is shrunk (classifiers only)",
            frozen=_frozen_for_bss,
            penalty=lambda network: BatchSpectralShrinkage(require_classifier(network)),
        ),
        TransferStrategy(
            "lora",
            "the source's body is frozen under trained low-rank changes; the new head (and decoder) trains",
            frozen=source_stages,
            groups=lora.groups,
            wrap=lora.wrap,
        ),
        TransferStrategy(
            "ssf",
            "the source's body is frozen under trained scales and shifts; the new head (and decoder) trains",
            frozen=source_stages,
            groups=ssf.groups,
            wrap=ssf.wrap,
        ),
        TransferStrategy(
            "bitfit",
            "of the source's body only the biases train; the new head (and decoder) trains",
            frozen=source_stages,
            groups=bitfit.groups,
            wrap=bitfit.wrap,
        ),
    )
}


def freeze_to(stage: str) -> TransferStrategy:
    """The strategy ``freeze_to_<stage>``: everything from the stem up to and with that stage is frozen."""
    return TransferStrategy(
        f"{FREEZE_TO}{stage}",
        f"the stages up to and with {stage} keep the source's weights, the others train",
        frozen=partial(_frozen_up_to, stage),
    )


def _frozen_up_to(stage: str, network: StagedNetwork) -> tuple[str, ...]:
    source = source_stages(network)
    if stage in source:
        return source[: source.index(stage) + 1]
    choice = f"{FREEZE_TO} and one of {', '.join(source)}"
    if stage in network.stages:
        raise ConfigError(
            f"stage {stage!r} belongs to the task: frozen, it would keep its random weights",
            expected=choice,
            got=f"{FREEZE_TO}{stage}",
        )
    raise ConfigError(
        f"network {network.architecture!r} has no stage {stage!r}",
        expected=choice,
        got=f"{FREEZE_TO}{stage}",
        remedy=_where_it_fits(stage, source),
    )


def _where_it_fits(stage: str, source: tuple[str, ...]) -> str | None:
    if near := difflib.get_close_matches(stage, source, n=1):
        return f"did you mean '{FREEZE_TO}{near[0]}'?"
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        having = [name for name in _ENCODERS if stage in build_encoder(name).stages]
    return f"networks with one of these encoders have it: {', '.join(having)}" if having else None


def build_strategy(name: str) -> TransferStrategy:
    """The strategy of a name: a key of :data:`STRATEGIES`, or ``freeze_to_`` and a stage of the network.

    Raises ConfigError, with the nearest name, if there is none.
    """
    if str(name).startswith(FREEZE_TO):
        return freeze_to(name.removeprefix(FREEZE_TO))
    example = freeze_to("<stage>")
    return look_up({**STRATEGIES, example.name: example}, name, "transfer strategy")


def staged(network: nn.Module) -> StagedNetwork:
    """The network with stages itself, without a wrapper. Raises ConfigError if it has none."""
    bare = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    if not isinstance(bare, StagedNetwork):
        raise ConfigError("a strategy needs a network with stages", got=type(bare).__name__)
    return bare


def build_optimizer(
    network: nn.Module, *, strategy: str, lr: float, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    """Apply a strategy to a network and return its optimiser; the factory that bundle configurations call.

    Args:
        network: the network, or its DistributedDataParallel wrapper.
        strategy: a name that :func:`build_strategy` knows.
        lr: learning rate of freshly initialised layers.
        weight_decay: AdamW weight decay of convolution and linear weights; ``l2_sp`` has none.

    Raises:
        ConfigError: an unknown strategy, one that does not fit the network or its wrapper, or a network without stages.
    """
    chosen = build_strategy(strategy)
    if chosen.wrap is not _leave and isinstance(network, nn.parallel.DistributedDataParallel):
        raise ConfigError(
            f"strategy {chosen.name!r} adds parameters that several processes would not keep equal",
            expected="one process, or a strategy without adapters",
            got="a network in DistributedDataParallel",
            remedy="train with configs/train.json alone",
        )
    return chosen.optimizer(staged(network), lr=lr, weight_decay=weight_decay)
