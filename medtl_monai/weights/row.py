"""What the registry knows about one file of published weights. Plain values: nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlparse


@dataclass(frozen=True)
class InputSpec:
    """The input a network was trained on.

    Attributes:
        channels: number of input channels.
        spatial_dims: 2 or 3.
        spacing: voxel size in mm, one value per spatial axis; None where there was no common one.
        orientation: direction of the spatial axes, such as ``"RAS"``; empty for photographs.
        normalisation: how intensities were prepared, in words.
        preprocessing: the same as a key: ``"imagenet"``, ``"medicalnet_paper"`` or ``"zscore"``.
        axis_order: the publication's names of the axes of one image, channel first, such as ``"CDHW"``.
        value_range: lowest and highest value before ``mean`` and ``std``; None where it depends on the scan.
        mean, std: subtracted and divided by, one value per channel; None where they are taken from each scan.
        resize: length in pixels to which the shorter side was brought, or None.
        crop: side in pixels of the square cut from the centre after that, or None.
        interpolation: interpolation of ``resize``, or None.
    """

    channels: int
    spatial_dims: int
    spacing: tuple[float, ...] | None
    orientation: str
    normalisation: str
    preprocessing: str
    axis_order: str
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | None = None
    crop: int | None = None
    interpolation: str | None = None


@dataclass(frozen=True)
class PretrainedWeights:
    """One file of published weights.

    Attributes:
        name: name used by ``--source`` and ``medtl weights``.
        architecture: network it fills.
        naming: how the file names its tensors (a key of ``weights.adapt.RENAMERS``), one leading ``module.`` aside.
        url: official home of the file; of what it was made from, if ``converted`` says so.
        sha256: hash of the whole file, 64 hexadecimal digits; or its first 8, where the publisher (torchvision) tells
            no more. A file is then accepted on these 32 bits: enough against damage and mix-ups, not against forgery.
        licence: SPDX identifier.
        commercial_use: whether the licence allows commercial use.
        citation: paper to cite.
        input: what the network was trained on.
        training_data: which data.
        tensors: number of tensors in the state dict, counters included. Files older than torch 0.4.1 hold no
            ``num_batches_tracked`` counters, and so fewer tensors than this.
        parameters: number of values in it that are parameters (no running statistics, no counters).
        source_classes: number of output classes of the published head; 0 if the file holds no head.
        head: name prefixes of the head's tensors, after renaming by ``naming``; empty if the file holds no head.
        size_bytes: size of the file as published, or None if nobody published it.
        size_tolerance: by how many bytes the published size may be off through rounding.
        licence_note: what else a user has to weigh.
        converted: how the file was made from the one at ``url``; empty if the file itself is there.
        stored_as: file name, where it is not the last part of ``url``.
    """

    name: str
    architecture: str
    naming: str
    url: str
    sha256: str
    licence: str
    commercial_use: bool
    citation: str
    input: InputSpec
    training_data: str
    tensors: int
    parameters: int
    source_classes: int
    head: tuple[str, ...]
    size_bytes: int | None = None
    size_tolerance: int = 0
    licence_note: str = ""
    converted: str = ""
    stored_as: str = ""

    @property
    def file_name(self) -> str:
        """Name of the file on this machine; the one it has at its official home, unless it was converted."""
        return self.stored_as or PurePosixPath(urlparse(self.url).path).name

    @property
    def about_bytes(self) -> int:
        """Size in bytes, for display and limits only: as published, else four bytes per parameter."""
        return self.size_bytes if self.size_bytes is not None else 4 * self.parameters

    @property
    def name_carries_hash(self) -> bool:
        """Whether the file name ends in the first digits of the hash, as torch hub's do."""
        return PurePosixPath(self.file_name).stem.endswith(f"-{self.sha256[:8]}")

    def matches(self, sha256: str) -> bool:
        """Whether a file with this full hash (64 hexadecimal digits) is this row's file."""
        return sha256.startswith(self.sha256)
