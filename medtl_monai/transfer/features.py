"""Features of a frozen network: one vector per image from any level, or one vector per voxel from all levels."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import nn

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.lookup import look_up
from medtl_monai.networks.encoder import Encoder, min_sizes, size_multiples
from medtl_monai.networks.padding import pad_to
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.transfer.matching import encoder_of

POOLS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda maps: maps.flatten(2).mean(dim=2),
    "max": lambda maps: maps.flatten(2).amax(dim=2),
}
TOLERANCE = 1e-4  # of the largest feature
_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


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

    The faster path, taken when `example` is given, runs a frozen TorchScript trace of a channels-last copy: up to twice
    as fast for convolutions in 2D, slower for dilated ones in 3D (measured on a CPU). Padding and window sizes are
    constants in a trace, so there is one for every shape of batch, compared with the plain path before it is used.
    Weights that change make new traces; writing through ``tensor.data`` goes unnoticed.

    Args:
        network: an encoder, or a network with an ``encoder``. It is used, not copied.
        level: which of the encoder's feature maps, from shallow to deep; negative counts from the deepest.
        pool: how the map becomes a vector: ``"mean"`` or ``"max"`` over space.
        example: a batch ``(B, C, H, W[, D])``; asks for the faster path, which is checked on it.

    Raises:
        ConfigError: no encoder, no such level or pooling, or the faster path cannot be built or gives other features.
        DataError: `example` has not the shape that the encoder takes.
    """

    def __init__(
        self, network: StagedNetwork, level: int = -1, pool: str = "mean", *, example: torch.Tensor | None = None
    ) -> None:
        self.encoder = _required_encoder(network)
        depth = len(self.encoder.channels)
        if not -depth <= level < depth:
            raise ConfigError("the encoder has no such level", expected=f"-{depth} to {depth - 1}", got=level)
        self.level, self.pool, self.fast = level % depth, pool, example is not None
        self._plain = _Pooled(self.encoder, self.level, pool)
        self._traces: dict[torch.Size, Callable[[torch.Tensor], torch.Tensor]] = {}
        self._traced_state: tuple[tuple[int, int], ...] = ()
        if example is not None:
            self(example)

    @property
    def size(self) -> int:
        """Length F of a feature vector."""
        return self.encoder.channels[self.level]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """``(B, C, H, W[, D]) -> (B, F)`` float32, on the encoder's device; B is kept, also when it is 1.

        Raises:
            DataError: another shape.
            ConfigError: the faster path cannot be built for this shape or gives other features.
        """
        image = _on_encoder(self.encoder, image)
        with _frozen(self.encoder, image.device):
            features = self._trace(image)(image) if self.fast else self._plain(image)
        return features.float()

    def _trace(self, image: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        tensors = itertools.chain(self.encoder.parameters(), self.encoder.buffers())
        state = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
        if state != self._traced_state:
            self._traces, self._traced_state = {}, state
        if image.shape not in self._traces:
            traced = _traced(self._plain, image, self.encoder.spatial_dims)
            _require_equal(traced(image), self._plain(image))
            self._traces[image.shape] = traced
        return self._traces[image.shape]


def _traced(module: _Pooled, image: torch.Tensor, dims: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A frozen trace of a channels-last copy; raises ConfigError if the network cannot be traced."""
    layout = _CHANNELS_LAST[dims]
    duplicate = copy.deepcopy(module).eval()
    for tensor in itertools.chain(duplicate.parameters(), duplicate.buffers()):
        if tensor.dim() == dims + 2:
            tensor.data = tensor.data.contiguous(memory_format=layout)
    image = image.contiguous(memory_format=layout)
    try:
        with warnings.catch_warnings():
            # Every shape has its own, compared trace: constants in it are right. Deprecated, but the fastest on CPU.
            for category in (torch.jit.TracerWarning, FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            traced = torch.jit.trace(duplicate, image, check_trace=False)
            traced = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    except RuntimeError as error:
        raise ConfigError(
            "this encoder cannot be traced",
            expected="an encoder that TorchScript can trace",
            got=str(error).strip().splitlines()[-1],
            remedy="leave `example` out: the plain path",
        ) from error
    return lambda batch: traced(batch.contiguous(memory_format=layout))


def _require_equal(fast: torch.Tensor, plain: torch.Tensor) -> None:
    difference, largest = float((fast.float() - plain.float()).abs().max()), float(plain.abs().max())
    if not difference <= TOLERANCE * largest:
        raise ConfigError(
            "the faster path gives other features than the plain one",
            expected=f"within {TOLERANCE:g} of the largest feature, {largest:g}",
            got=f"a difference of {difference:g}",
            remedy="leave `example` out: the plain path",
        )


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
            for maps in encoder(padded)
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
