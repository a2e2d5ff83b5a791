"""Layer-wise decay of the learning rate: the deeper a stage, the faster it trains."""

from __future__ import annotations

from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.param_groups import Group, parameter_groups_by_stage, source_stages

DECAY = 0.75  # of BEiT (arXiv:2106.08254) and MAE (arXiv:2111.06377)


def stage_factors(network: StagedNetwork, decay: float = DECAY) -> dict[str, float]:
    """Stage -> ``decay ** (L - l)``: L is the depth of the task stages, which train at the full rate.

    The decoder around an encoder is as fresh as the head, so both are at depth L.
    """
    source = source_stages(network)
    factors = {stage: decay ** (len(source) - depth) for depth, stage in enumerate(source)}
    return {stage: factors.get(stage, 1.0) for stage in network.stages}


def decayed_groups(network: StagedNetwork, lr: float, weight_decay: float) -> list[Group]:
    """Groups by stage, with rates times :func:`stage_factors` (Howard and Ruder 2018, arXiv:1801.06146).

    The scale by the size of the weights stays (:func:`medtl_monai.transfer.param_groups.learning_rate_scale`), and
    one-dimensional parameters have no weight decay. Nothing is changed.
    """
    return parameter_groups_by_stage(
        network, lr=lr, weight_decay=weight_decay, factor=stage_factors(network).__getitem__
    )
