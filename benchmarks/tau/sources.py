"""The sources that are compared, own ones included."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.ranking.contestant import Contestant
from medtl_monai.ranking.encoders import random_encoder, source_encoder
from medtl_monai.ranking.sources import NOBODYS, licensing, row_of
from medtl_monai.weights.licence import write_lineage
from tau.datasets import labels_of

SQUEEZENET, HIGHRES = "imagenet_squeezenet1_0_pruned", "highres3dnet_gif"
OWN = ("mednist", "chest_xray")
STEPS, BATCH, RATE = 300, 32, 3e-4
KEPT_LAYERS = ("features.0", "features.3", "features.4", "features.5")  # stem and the first three fire modules
RANDOM_SEED = 0


def own_network(name: str, data: Path, work: Path) -> Path:
    """A SqueezeNet trained here for a minute on another data set; its file is kept in ``work``."""
    folder = work / "own" / name
    path = folder / f"{name}.pt"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = labels_of(name, data)
    network = build_network("classifier_squeezenet1_0", out_channels=int(labels.max()) + 1, seed=1)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    rng = np.random.default_rng(0)
    network.train()
    for step in range(STEPS):
        rows = rng.integers(0, len(labels), BATCH)
        loss = F.cross_entropy(network(torch.from_numpy(images[rows])[:, None]), torch.from_numpy(labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(f"own {name}: step {step + 1}, loss {float(loss):.3f}", flush=True)
    (folder / "run.json").write_text(json.dumps({"config": {"settings": {"network": "classifier_squeezenet1_0"}}}))
    write_lineage(path, [])
    temporary = path.with_name("part.pt")
    torch.save(network.state_dict(), temporary)
    temporary.replace(path)
    return path


def _shuffled(dims: int) -> Encoder:
    """Published values of every tensor in random order: their distribution without their structure."""
    encoder = source_encoder(SQUEEZENET, dims)
    generator = torch.Generator().manual_seed(RANDOM_SEED)
    with torch.no_grad():
        for parameter in encoder.parameters():
            flat = parameter.flatten()
            parameter.copy_(flat[torch.randperm(len(flat), generator=generator)].reshape(parameter.shape))
    return encoder


def _partly(dims: int) -> Encoder:
    """Published stem and first three fire modules, the deeper layers with initial weights."""
    encoder, initial = source_encoder(SQUEEZENET, dims), random_encoder("squeezenet1_0", 1, RANDOM_SEED).state_dict()
    state = encoder.state_dict()
    for name in state:
        if not name.startswith(tuple(f"{layer}." for layer in KEPT_LAYERS)):
            state[name] = initial[name]
    encoder.load_state_dict(state)
    return encoder


def _made(name: str, build: Callable[[], Encoder], random: bool = True) -> Contestant:
    return Contestant(name, build, NOBODYS, random=random)


def _named(source: str, dims: int, shown: str = "") -> Contestant:
    row = row_of(source)
    return Contestant(shown or source, partial(source_encoder, source, dims), licensing(source), row)


def contestants(dataset: str, dims: int, data: Path, work: Path) -> list[Contestant]:
    """The sources of a data set: published, initial, spoilt and own ones."""
    own = {name: str(own_network(name, data, work)) for name in OWN}
    if dims == 2:
        return [
            _named(SQUEEZENET, 2),
            _made("random:squeezenet1_0", partial(random_encoder, "squeezenet1_0", 1, RANDOM_SEED)),
            _made("shuffled", partial(_shuffled, 2)),
            _made("first_three_fires", partial(_partly, 2), random=False),
            *(_named(path, 2, f"own:{name}") for name, path in own.items()),
        ]
    return [
        _named(HIGHRES, 3),
        _made("random:highres3dnet", partial(random_encoder, "highres3dnet", 1, RANDOM_SEED)),
        *(_named(f"{SQUEEZENET}@{method}", 3) for method in ("i3d", "centre", "acs")),
        _made("random:squeezenet1_0_i3d", partial(random_encoder, "squeezenet1_0_i3d", 1, RANDOM_SEED)),
        *(_named(path, 3, f"own:{name}@i3d") for name, path in own.items()),
    ]


def with_head(encoder: Encoder, classes: int, seed: int) -> TransferClassifier:
    """A classifier around an encoder, its head initialised by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TransferClassifier(encoder, classes)
