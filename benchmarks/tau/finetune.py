"""What a short fine-tuning reaches: the truth that scores are to foretell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.losses import DiceCELoss
from probes.dense import dice
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from medtl_monai.inference.precision import forward_in
from medtl_monai.io.reader import read_volume
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.transfer_unet import TransferUNet
from medtl_monai.ranking.images import prepared, whole
from medtl_monai.ranking.target import TargetCase
from tau.datasets import CLASSES, Draw
from tau.sources import with_head

STEPS = {"head_ct": 100, "adrenal": 100, "hippocampus": 200}
BATCH = {"head_ct": 4, "adrenal": 4, "hippocampus": 1}
CROP = 24
RATES = (1e-4, 3e-4, 1e-3)
WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class Finetuned:
    """Score on the judged cases and the last steps' mean training loss."""

    score: float
    loss: float


PRECISION = "bfloat16"  # of segmentation: 200 steps in the time of 60


def finetune(
    dataset: str, encoder: Encoder, draw: Draw, judged: Sequence[TargetCase], rate: float, seed: int
) -> Finetuned:
    """Train all layers for a fixed number of steps (AdamW, cosine) and judge the last weights.

    Classification: area under the ROC curve. Segmentation: mean Dice of the two structures and the cases.
    The head's initial weights and the order of the cases depend on the seed alone.
    """
    if draw.labelled.task == "classification":
        return _classify(dataset, encoder, draw, judged, rate, seed)
    return _segment(dataset, encoder, draw, judged, rate, seed)


def _optimizer(
    network: nn.Module, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=WEIGHT_DECAY)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def _step(
    loss: torch.Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    return float(loss.detach())


def _classify(
    dataset: str, encoder: Encoder, draw: Draw, judged: Sequence[TargetCase], rate: float, seed: int
) -> Finetuned:
    cases, steps = draw.labelled.cases, STEPS[dataset]
    images = torch.stack([whole(prepared(case.image, case.case, encoder)) for case in cases])
    labels = torch.tensor([int(case.label) for case in cases])
    weights = len(labels) / (2 * torch.bincount(labels).float())
    network = with_head(encoder, 2, seed).train()
    optimizer, schedule = _optimizer(network, rate, steps)
    rng, losses = np.random.default_rng(seed), []
    order = np.concatenate([rng.permutation(len(cases)) for _ in range(1 + steps * BATCH[dataset] // len(cases))])
    for step in range(steps):
        rows = order[step * BATCH[dataset] : (step + 1) * BATCH[dataset]]
        batch = images[rows].flip(2) if rng.random() < 0.5 else images[rows]
        losses.append(_step(F.cross_entropy(network(batch), labels[rows], weights), optimizer, schedule))
    network.eval()
    with torch.no_grad():
        says = [
            float(network(whole(prepared(case.image, case.case, encoder))[None]).softmax(1)[0, 1]) for case in judged
        ]
    truth = [int(case.label) for case in judged]  # a network that diverged says the same of all: 0.5
    return Finetuned(float(roc_auc_score(truth, np.nan_to_num(says))), float(np.mean(losses[-10:])))


def _label(case: TargetCase) -> torch.Tensor:
    return torch.from_numpy(np.asarray(read_volume(str(case.label), kind="label").array).astype(np.int64))


def _segment(
    dataset: str, encoder: Encoder, draw: Draw, judged: Sequence[TargetCase], rate: float, seed: int
) -> Finetuned:
    steps = STEPS[dataset]
    pairs = [(_plain(case, encoder), _label(case)) for case in draw.labelled.cases]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TransferUNet(encoder, len(CLASSES[dataset])).train()
    criterion = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    optimizer, schedule = _optimizer(network, rate, steps)
    rng, losses = np.random.default_rng(seed), []
    for _ in range(steps):
        image, label = _crop(*pairs[rng.integers(len(pairs))], rng)
        logits = forward_in(PRECISION, image[None], network)
        losses.append(_step(criterion(logits, label[None, None]), optimizer, schedule))
    network.eval()
    found = []
    with torch.no_grad():
        for case in judged:
            mask, truth = (
                forward_in(PRECISION, _plain(case, encoder)[None], network).argmax(1)[0].numpy(),
                _label(case).numpy(),
            )
            found += [dice(mask, truth, value) for value in CLASSES[dataset] if value]
    return Finetuned(float(np.mean(found)), float(np.mean(losses[-10:])))


def _plain(case: TargetCase, encoder: Encoder) -> torch.Tensor:
    """All hippocampus scans are stored in RAS, as these encoders want them: image and label stay on one grid."""
    return prepared(case.image, case.case, encoder).as_subclass(torch.Tensor)


def _crop(image: torch.Tensor, label: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A cube of 24^3 voxels around a foreground voxel, flipped at random along the first axis."""
    places = torch.nonzero(label > 0)
    middle = places[rng.integers(len(places))].numpy()
    low = [int(np.clip(m - CROP // 2, 0, max(0, n - CROP))) for m, n in zip(middle, label.shape, strict=True)]
    window = tuple(slice(start, start + CROP) for start in low)
    image, label = image[(slice(None), *window)], label[window]
    return (image.flip(1), label.flip(0)) if rng.random() < 0.5 else (image, label)
