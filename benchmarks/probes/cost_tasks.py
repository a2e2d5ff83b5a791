"""What a linear probe is timed on: networks and images of binary classifications, all of one shape."""

from __future__ import annotations

from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from medtl_monai.networks.factory import build_network
from medtl_monai.transfer.source import load_source
from probes import head_ct
from probes.record import DATA

EPOCHS, SEED = 50, 0
CROP, CROPS, TEST_CROPS = 32, 40, 12
Batches = list[torch.Tensor]


@dataclass
class Task:
    """A network and the images of a binary classification, all of one shape."""

    name: str
    network: nn.Module
    images: torch.Tensor
    labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    batch: int
    whole: bool = False  # run every epoch of the slow side
    orders: list[Batches] = field(default_factory=list)

    def __post_init__(self) -> None:
        drawn = torch.Generator().manual_seed(SEED)
        count = len(self.images)
        self.orders = [list(torch.randperm(count, generator=drawn).split(self.batch)) for _ in range(EPOCHS)]


def head_ct_task(name: str, source: str | None, whole: bool) -> Task:
    """Haemorrhage in head CT slices at 224x224; related slices are on one side of the split.

    Only where the whole probe is run are there test slices; elsewhere nearly all slices are in training.
    """
    slices = head_ct.read_slices(DATA / "head_ct_hemorrhage")
    train, test = head_ct.outer_folds(slices, SEED, grouped=True)[0]
    drawn = np.random.default_rng(SEED)
    train = drawn.permutation(train)[:80] if whole else drawn.permutation(len(slices.names))[:136]
    images, labels = torch.from_numpy(slices.resized(224))[:, None], torch.from_numpy(slices.labels)
    network = build_network(f"classifier_{name}", seed=SEED)
    if source:
        load_source(network, source)
    return Task(f"{name}, head CT", network, images[train], labels[train], images[test], labels[test], 8, whole)


def hippocampus_task() -> Task:
    """Is a hippocampus larger than the median? Z-scored MR crops, cut or padded to 32 voxels along each axis."""
    folder = DATA / "hippocampus_mri"
    names = sorted(path.name for path in (folder / "images").glob("*.nii.gz"))
    names = np.random.default_rng(SEED).permutation(names)[: CROPS + TEST_CROPS].tolist()
    scans = [np.asarray(nib.load(folder / "images" / name).dataobj, dtype=np.float32) for name in names]
    images = torch.stack([_cut(torch.from_numpy((scan - scan.mean()) / scan.std())) for scan in scans])[:, None]
    voxels = np.array([(np.asarray(nib.load(folder / "labels" / name).dataobj) > 0).sum() for name in names])
    labels = torch.from_numpy((voxels > np.median(voxels)).astype(np.int64))
    network = build_network("classifier_highres3dnet", seed=SEED)
    load_source(network, "highres3dnet_gif")
    parts = images[:CROPS], labels[:CROPS], images[CROPS:], labels[CROPS:]
    return Task("highres3dnet, hippocampus MR", network, *parts, 4)


def _cut(scan: torch.Tensor) -> torch.Tensor:
    pads = [CROP - length for length in reversed(scan.shape)]  # F.pad wants the last axis first; negative numbers cut
    return F.pad(scan, [part for pad in pads for part in (pad // 2, pad - pad // 2)])
