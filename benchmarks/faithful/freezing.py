"""F2: freezing under a training engine. F5: the gradient through type-A shortcuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.networks.nets import resnet10, resnet18
from monai.networks.utils import freeze_layers
from torch import nn

from faithful.official import medicalnet_state
from faithful.row import Row, alarms, percent, relative
from medtl_monai.networks.medicalnet import MedicalNetEncoder
from medtl_monai.networks.transfer_classifier import TransferClassifier

SEED = 2
ITERATIONS = 3


def _train(network: nn.Module) -> None:
    """Three iterations of MONAI's trainer on volumes of another intensity than those of :func:`_settle`."""
    generator = torch.Generator().manual_seed(SEED)
    batches = [
        {"image": torch.randn(4, 1, 24, 24, 24, generator=generator) * 1.5 + 0.5, "label": torch.tensor([0, 1, 0, 1])}
        for _ in range(ITERATIONS)
    ]
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.SGD(trainable, lr=0.01),
        loss_function=nn.CrossEntropyLoss(),
    ).run()


def _settle(network: nn.Module) -> None:
    """Running statistics that belong to the weights: those of one batch of standard normal volumes."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(8, 1, 24, 24, 24, generator=torch.Generator().manual_seed(SEED)))
    for norm in norms:
        norm.momentum = 0.1


def _moved(network: nn.Module, head: str) -> dict[str, Any]:
    """Train, and say which tensors changed."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    _train(network)
    after = network.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    frozen = [name for name in before if not name.startswith(head)]
    means = [name for name in frozen if name.endswith("running_mean")]
    return {
        "frozen_tensors": len(frozen),
        "frozen_tensors_changed": sum(not name.startswith(head) for name in changed),
        "head_tensors_changed": sum(name.startswith(head) for name in changed),
        "largest_move_of_a_running_mean_in_sd": max(
            float(((after[name] - before[name]) / before[name.replace("mean", "var")].sqrt()).abs().max())
            for name in means
        ),
    }


def frozen_statistics(folder: Path) -> Row:
    """Everything but the head is frozen, batch norm put into evaluation mode, then MONAI's trainer runs."""
    torch.manual_seed(SEED)
    network = resnet10(spatial_dims=3, n_input_channels=1, num_classes=2, bias_downsample=False)
    network.load_state_dict(medicalnet_state(10, SEED), strict=False)
    _settle(network)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    with alarms() as texts:
        freeze_layers(network, exclude_vars=r"^fc\.")
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()
        monai = {**_moved(network, "fc."), "alarms": texts}

    classifier = TransferClassifier(MedicalNetEncoder(10), out_channels=2)
    classifier.encoder.load_state_dict(state)
    classifier.freeze(stage for stage in classifier.stages if stage != classifier.head)
    ours = _moved(classifier, "class_head.")
    return Row(
        key="F2",
        defect="all but the head frozen, batch norm put into eval mode, then 3 iterations of SupervisedTrainer: do the "
        "frozen tensors stand still?",
        monai=monai,
        ours=ours,
        monai_text=f"freeze_layers: {monai['frozen_tensors_changed']} of {monai['frozen_tensors']} frozen tensors "
        f"changed; a running mean moved by up to {monai['largest_move_of_a_running_mean_in_sd']:.2f} standard "
        f"deviations; warnings: {len(texts)}",
        ours_text=f"StagedNetwork.freeze: {ours['frozen_tensors_changed']} of {ours['frozen_tensors']} frozen tensors "
        f"changed (bit by bit); head tensors trained: {ours['head_tensors_changed']}",
        defect_shown=monai["frozen_tensors_changed"] > 0 and not texts,
        ours_ok=ours["frozen_tensors_changed"] == 0 and ours["head_tensors_changed"] > 0,
    )


def _shortcut_gradient(block: nn.Module) -> tuple[torch.Tensor, float]:
    """Output of a residual block whose residual branch gives 0, and its largest input gradient."""
    nn.init.zeros_(block.bn2.weight)
    nn.init.zeros_(block.bn2.bias)
    image = torch.rand((1, 64, 6, 6, 6), generator=torch.Generator().manual_seed(SEED)).requires_grad_()
    out = block.eval()(image)
    out.sum().backward()
    return out.detach(), float(image.grad.abs().max())


def shortcut_gradient(folder: Path) -> Row:
    """First block of layer2 of ResNet-18: the one whose shortcut halves the size and doubles the channels."""
    options = {"spatial_dims": 3, "n_input_channels": 1, "feed_forward": False, "shortcut_type": "A"}
    theirs, cut = _shortcut_gradient(resnet18(**options).layer2[0])
    own, gradient = _shortcut_gradient(MedicalNetEncoder(18).layer2[0])
    return Row(
        key="F5",
        defect="type-A shortcut (MedicalNet ResNet-18, 34), residual branch at 0: what gradient reaches the block's "
        "input?",
        monai={"largest_input_gradient": cut},
        ours={"largest_input_gradient": gradient, "output_relative_difference": relative(own, theirs)},
        monai_text=f"largest input gradient {cut:g}",
        ours_text=f"largest input gradient {gradient:g}; same output (difference {percent(relative(own, theirs))})",
        defect_shown=cut == 0,
        ours_ok=gradient > 0 and bool(torch.equal(own, theirs)),
    )
