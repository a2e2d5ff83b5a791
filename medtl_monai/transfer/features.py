"""Features of a frozen network: one vector per image from any level, or one vector per voxel from all levels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import nn

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.lookup import look_up
from medtl_monai.networks.encoder import Encoder, margins, min_sizes, size_multiples
from medtl_monai.networks.padding import add_margin, pad_to
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.feature_backends import Computed, require_equal, traced
from medtl_monai.transfer.matching import encoder_of
from medtl_monai.transfer.openvino_features import compiled, import_openvino

POOLS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda maps: maps.flatten(2).mean(dim=2),
    "max": lambda maps: maps.flatten(2).amax(dim=2),
}
BACKENDS: dict[str, Callable[[nn.Module, torch.Tensor], Computed]] = {
    "eager": lambda module, image: module,
    "traced": traced,
    "openvino": compiled,
}


class _Pooled(nn.Module):
    """Image ``(B, C, H, W[, D])`` to the pooled maps ``(B, F)`` of one level, padded as the classifiers do."""

    def __init__(self, encoder: Encoder, level: int, pool: str) -> None:
        super().__init__()
        self.encoder, self.level = encoder, level
        self.pool = look_up(POOLS, pool, "pooling")
        self.multiple, self.minimum = size_multiples(encoder), min_sizes(encoder)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.pool(self.encoder(pad_to(image, self.multiple, self.minimum))[self.level])


@contextmanager
def _frozen(encoder: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode, no gradient, full precision; afterwards every module has the mode it had."""
    modes = {module: module.training for module in encoder.modules()}
    try:
        for module in modes:
            module.training = False
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _required_encoder(network: StagedNetwork) -> Encoder:
    encoder = network if isinstance(network, Encoder) else encoder_of(network)
    if encoder is None:
        raise ConfigError(
            "this network has no encoder to take features from",
            expected="an encoder, or a network around one (`classifier_<encoder>`, `unet_<encoder>`)",
            got=network.architecture or type(network).__name__,
        )
    return encoder


def _on_encoder(encoder: Encoder, image: torch.Tensor) -> torch.Tensor:
    """A batch on the device and in the precision of the encoder. Raises DataError if its shape is not the encoder's."""
    axes = ["H", "W", "D"][: encoder.spatial_dims]
    if image.dim() != 2 + len(axes) or image.shape[1] != encoder.in_channels or image.numel() == 0:
        raise DataError(
            "this image is not what the encoder takes",
            expected=f"(B, {encoder.in_channels}, {', '.join(axes)}), not empty",
            got=f"shape {tuple(image.shape)}",
        )
    weight = next(encoder.parameters())
    return image.as_subclass(torch.Tensor).to(weight.device, weight.dtype)  # MONAI's MetaTensor cannot be traced


class FrozenFeatures:
    """Penultimate features of a network, never its logits: one vector per image.

    Always in evaluation mode, without gradient and without autocast; the modules' modes are as before afterwards.
    For a ``TransferClassifier`` the defaults give what its head sees.

    Backends, all within 1e-4 of the largest feature (measured on a CPU by `benchmarks/probe_cost.py`):

    - ``eager``: the encoder as it is.
    - ``traced``: a frozen TorchScript trace of a channels-last copy; faster in 2D, little or nothing gained in 3D.
    - ``openvino``: the fastest in 2D and 3D on a CPU; needs the optional package openvino, float32 and the CPU.

    The last two are built for every shape of batch anew, because paddings and window sizes are constants in a trace,
    and compared with the encoder itself before they are used. That takes the time of two eager batches and more: it
    does not pay for a handful of images, nor for images of many sizes. Weights that change make new ones; writing
    through ``tensor.data`` goes unnoticed.

    Args:
        network: an encoder, or a network with an ``encoder``. It is used, not copied.
        level: which of the encoder's feature maps, from shallow to deep; negative counts from the deepest.
        pool: how the map becomes a vector: ``"mean"`` or ``"max"`` over space.
        backend: what computes: ``"eager"``, ``"traced"`` or ``"openvino"``.

    Raises:
        ConfigError: no encoder, no such level, pooling or backend, or the backend's package is not installed.
    """

    def __init__(self, network: StagedNetwork, level: int = -1, pool: str = "mean", *, backend: str = "eager") -> None:
        self.encoder = _required_encoder(network)
        depth = len(self.encoder.channels)
        if not -depth <= level < depth:
            raise ConfigError("the encoder has no such level", expected=f"-{depth} to {depth - 1}", got=level)
        self.level, self.pool, self.backend = level % depth, pool, backend
        self._plain = _Pooled(self.encoder, self.level, pool)
        self._build = look_up(BACKENDS, backend, "backend")
        self._built: dict[torch.Size, Computed] = {}
        self._built_state: tuple[tuple[int, int], ...] = ()
        if backend == "openvino":
            import_openvino()  # absent: said now, not at the first image

    @property
    def size(self) -> int:
        """Length F of a feature vector."""
        return self.encoder.channels[self.level]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """``(B, C, H, W[, D]) -> (B, F)`` float32, on the encoder's device; B is kept, also when it is 1.

        Raises:
            DataError: another shape.
            ConfigError: the backend cannot run this encoder or gives other features.
        """
        image = _on_encoder(self.encoder, image)
        with _frozen(self.encoder, image.device):
            features = self._plain(image) if self.backend == "eager" else self._fast(image)
        return features.float()

    def _fast(self, image: torch.Tensor) -> torch.Tensor:
        """By the backend for this shape and the present weights; at first compared with the encoder itself."""
        tensors = itertools.chain(self.encoder.parameters(), self.encoder.buffers())
        state = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
        if state != self._built_state:
            self._built, self._built_state = {}, state
        if image.shape in self._built:
            return self._built[image.shape](image)
        plain = self._plain(image)
        if not bool(torch.isfinite(plain).all()):
            return plain  # nothing to compare with; whoever uses these features sees that they are not finite
        computed = self._build(self._plain, image)
        features = computed(image)
        require_equal(features, plain, self.backend)
        self._built[image.shape] = computed
        return features


def extract(network: FrozenFeatures | StagedNetwork, batches: Iterable[torch.Tensor]) -> np.ndarray:
    """Features ``(N, F)`` float32 of all images of all batches ``(B, C, H, W[, D])``, in their order.

    Args:
        network: the features to take, or a network for the defaults of :class:`FrozenFeatures`.
        batches: images; read once, one batch at a time.

    Raises:
        DataError: no batch, another shape, or features that are not finite (all rows are named).
        ConfigError: as :class:`FrozenFeatures`.
    """
    features = network if isinstance(network, FrozenFeatures) else FrozenFeatures(network)
    if not (parts := [features(batch).cpu().numpy() for batch in batches]):
        raise DataError("no images to take features from", expected="one batch or more", got="none")
    table = np.concatenate(parts)
    broken = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(broken):
        raise DataError("features are not finite", expected="finite features", got=f"rows {broken.tolist()}")
    return table


def dense_features(network: StagedNetwork, image: torch.Tensor, voxels: ArrayLike) -> torch.Tensor:
    """Features of single voxels from all levels at once, for voxel classifiers and segmentation scores.

    Each level's map is brought to the image's voxel grid by linear interpolation (``align_corners=False``, edges
    repeated) and read at the voxels; only those are computed. Inside, the image is padded at the far end with its edge
    values to multiples of the deepest stride, as ``TransferUNet`` does.

    Args:
        network: an encoder, or a network with an ``encoder``.
        image: one image ``(C, H, W[, D])``.
        voxels: ``(N, 2)`` or ``(N, 3)`` whole-number indices into its spatial axes.

    Returns:
        ``(N, F)`` float32 on the encoder's device, F the sum of all levels' channels, shallow level first.

    Raises:
        ConfigError: the network has no encoder.
        DataError: an image of another shape, or voxels that are no indices into it.
    """
    encoder = _required_encoder(network)
    batch = _on_encoder(encoder, image[None])
    points = _voxels(voxels, image.shape[1:]).to(batch.device)
    multiple = list(encoder.strides[-1])
    padded = pad_to(batch, multiple, [max(pair) for pair in zip(min_sizes(encoder), multiple, strict=True)])
    lengths = torch.tensor(padded.shape[2:], device=batch.device)
    centres = (2 * points + 1) / lengths - 1  # voxel centres, where -1 and 1 are the outer faces of the padded image
    grid = centres.flip(1).reshape([1, len(points), *[1] * (encoder.spatial_dims - 1), encoder.spatial_dims])
    with _frozen(encoder, batch.device):
        levels = [
            F.grid_sample(maps.float(), grid.float(), "bilinear", padding_mode="border", align_corners=False)
            for maps in encoder(add_margin(padded, margins(encoder)))
        ]
    return torch.cat([level.flatten(2)[0].T for level in levels], dim=1)


def _voxels(voxels: ArrayLike, shape: torch.Size) -> torch.Tensor:
    given = np.asarray(voxels)
    problem = None
    if given.ndim != 2 or given.shape[1] != len(shape) or given.dtype.kind not in "iu" or len(given) == 0:
        problem = f"shape {given.shape}, type {given.dtype}"
    elif outside := int(((given < 0) | (given >= np.asarray(shape))).any(axis=1).sum()):
        problem = f"{outside} of {len(given)} outside"
    if problem:
        wanted = f"whole numbers (N, {len(shape)}) within {tuple(shape)}"
        raise DataError("these voxels are no indices into the image", expected=wanted, got=problem)
    return torch.as_tensor(given.astype(np.int64))
