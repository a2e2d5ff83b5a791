"""Pretrained weights as values: what they are, where they live, what input they were trained on, who may use them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlparse

from medtl_monai.errors import WeightsError


@dataclass(frozen=True)
class InputSpec:
    """The input a network was trained on.

    Attributes:
        channels: number of input channels.
        spatial_dims: 2 or 3.
        spacing: voxel size in mm, one value per spatial axis.
        orientation: direction of the array axes, such as ``"RAS"``.
        normalisation: how intensities were prepared, in words.
    """

    channels: int
    spatial_dims: int
    spacing: tuple[float, ...]
    orientation: str
    normalisation: str


@dataclass(frozen=True)
class PretrainedWeights:
    """One file of published weights.

    Attributes:
        name: name used by ``--source`` and ``medtl weights``.
        architecture: network it fills (a name of ``networks.factory.NETWORKS``).
        naming: how the file names its tensors (a key of ``weights.adapt.RENAMERS``).
        url: official home of the file.
        sha256: hash of the whole file.
        size_bytes: size of the file.
        licence: SPDX identifier.
        commercial_use: whether the licence allows commercial use.
        citation: paper to cite.
        input: what the network was trained on.
        training_data: which data.
        tensors, parameters: number of tensors in the file, and of values in it that are parameters (no running
            statistics, no counters).
        source_classes: number of output classes of the published head.
    """

    name: str
    architecture: str
    naming: str
    url: str
    sha256: str
    size_bytes: int
    licence: str
    commercial_use: bool
    citation: str
    input: InputSpec
    training_data: str
    tensors: int
    parameters: int
    source_classes: int

    @property
    def file_name(self) -> str:
        """Name of the file at its official home."""
        return PurePosixPath(urlparse(self.url).path).name


REGISTRY: dict[str, PretrainedWeights] = {
    row.name: row
    for row in (
        PretrainedWeights(
            name="highres3dnet_gif",
            architecture="highres3dnet",
            naming="fepegar_highresnet",
            url="https://github.com/fepegar/highresnet-models/raw/652bdd3dfd6dfebfed7ee487415dd918d3787152/"
            "highres3dnet_li_parameters-7d297872.pth",
            sha256="7d2978724469087fa46d5beda42edc7b5941cdec2065e310534ca8a7a5d15edc",
            size_bytes=3_329_775,
            licence="MIT",
            commercial_use=True,
            citation="Li et al., IPMI 2017, arXiv:1707.01992; Perez-Garcia, highresnet, doi:10.5281/zenodo.3349989",
            input=InputSpec(
                channels=1,
                spatial_dims=3,
                spacing=(1.0, 1.0, 1.0),
                orientation="RAS",
                normalisation="histogram standardisation to the training set, then zero mean and unit variance of the "
                "foreground; a z-score per volume is the usual stand-in for fine-tuning",
            ),
            training_data="543 T1-weighted brain MR images (ADNI) with GIF parcellations of 160 structures",
            tensors=126,
            parameters=821_904,
            source_classes=160,
        ),
    )
}


def pretrained(name: str) -> PretrainedWeights:
    """The registry row of a name. Raises WeightsError, with the nearest names, if there is none."""
    if name in REGISTRY:
        return REGISTRY[name]
    near = difflib.get_close_matches(name, REGISTRY, n=1)
    raise WeightsError(
        "unknown pretrained weights",
        expected="one of " + ", ".join(sorted(REGISTRY)),
        got=name,
        remedy=f"did you mean {near[0]!r}?" if near else "`medtl weights list` shows what there is",
    )
