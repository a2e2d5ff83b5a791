"""A classifier's temperature, fitted on the validation cases during the training and stored in its last layer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from scipy.special import softmax
from torch import nn

from medtl_monai.errors import ConfigError
from medtl_monai.io.atomic import write_json
from medtl_monai.io.hashing import sha256_of
from medtl_monai.statistics.calibration import calibration_error, fit_temperature, log_loss, threshold_at_specificity
from medtl_monai.switch import switch
from medtl_monai.transfer.linear_head import LinearLayer, linear_layer
from medtl_monai.transfer.strategy import staged

logger = logging.getLogger(__name__)

FILE = "calibration.json"
SPECIFICITIES = (0.9, 0.95)


class Calibration:
    """Divide the saved logits by a temperature that makes the probabilities of the validation cases true.

    The temperature is fitted whenever ``model.pt`` is to be saved, on what the validator just saw, and goes into the
    weights of the last layer: every user of the file (MONAI's commands, Label, TorchScript, ONNX) has calibrated
    probabilities and nobody has to know. The network in training is not changed. ``calibration.json`` beside
    ``model.pt`` tells the temperature, what it was fitted on and with which effect, and thresholds of the probability
    that reach a specificity on the validation cases.

    Args:
        network: the network in training, or its DistributedDataParallel wrapper.
        validator: its evaluator; batches have ``label``, class numbers ``(B,)``, and the network gives logits.
        enabled: do it; without it the object does nothing.
        positive: number of the class that the thresholds are about.

    Raises:
        ConfigError: ``enabled`` is neither on nor off; or it is on, and the network does not end in one linear layer.
    """

    def __init__(self, network: nn.Module, validator: Evaluator, enabled: bool = True, positive: int = 1) -> None:
        self.enabled, self.positive = switch("calibrate", enabled), positive
        self.layer = _last_layer(network) if self.enabled else None
        self._logits: list[np.ndarray] = []
        self._truth: list[np.ndarray] = []
        self._result: dict[str, Any] = {}
        if self.enabled:
            validator.add_event_handler(Events.STARTED, self._forget)
            validator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._collect)
            validator.add_event_handler(Events.COMPLETED, self._gather)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the network's logits are those of before, divided by the temperature."""
        if self.layer is None or not self._truth:
            yield
            return
        temperature = self._fit()
        kept = [tensor.detach().clone() for tensor in (self.layer.weight, self.layer.bias)]
        try:
            self._set(*(tensor / temperature for tensor in kept))
            yield
        finally:
            self._set(*kept)

    def write(self, model: Path) -> None:
        """Write ``calibration.json`` beside a ``model.pt`` that was just saved; take an older one away."""
        path = model.parent / FILE
        if self._result:
            write_json(path, {"model_sha256": sha256_of(model), **self._result})
        elif path.is_file():
            path.unlink()  # it is of another model

    def _fit(self) -> float:
        logits, truth = np.concatenate(self._logits), np.concatenate(self._truth)
        temperature = fit_temperature(logits, truth)
        before, after = softmax(logits, axis=1), softmax(logits / temperature, axis=1)
        self._result = {
            "temperature": temperature,
            "positive": self.positive,
            "cases_per_class": np.bincount(truth, minlength=logits.shape[1]).tolist(),
            "log_loss": [log_loss(logits, truth), log_loss(logits / temperature, truth)],
            "calibration_error": [calibration_error(before, truth), calibration_error(after, truth)],
            "thresholds": _thresholds(after[:, self.positive], truth == self.positive),
        }
        logger.info("temperature %.3f, fitted on %d validation cases", temperature, len(truth))
        return temperature

    @torch.no_grad()
    def _set(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        if self.layer is not None and self.layer.bias is not None:
            self.layer.weight.copy_(weight)
            self.layer.bias.copy_(bias)

    def _forget(self, engine: Engine) -> None:
        self._logits, self._truth, self._result = [], [], {}

    def _collect(self, engine: Engine) -> None:
        output = engine.state.output
        self._logits.append(output["pred"].detach().float().cpu().numpy())
        self._truth.append(np.asarray(output["label"].cpu()).astype(np.intp).ravel())

    def _gather(self, engine: Engine) -> None:
        """Bring the cases of all processes together."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            parts: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(parts, (self._logits, self._truth))
            self._logits = [array for logits, _ in parts for array in logits]
            self._truth = [array for _, truth in parts for array in truth]


def _thresholds(scores: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Probability thresholds at fixed specificity, with the sensitivity they have on the same cases."""
    if truth.all():
        return {}
    found: dict[str, dict[str, float | None]] = {}
    for specificity in SPECIFICITIES:
        threshold = threshold_at_specificity(scores, truth, specificity)
        hits = scores[truth] >= threshold
        found[f"{specificity:g}"] = {"threshold": threshold, "sensitivity": float(hits.mean()) if len(hits) else None}
    return found


def _last_layer(network: nn.Module) -> LinearLayer:
    layer = linear_layer(staged(network))
    if layer is None:
        raise ConfigError(
            "the temperature has no place in this network",
            expected="a classifier that ends in one linear layer",
            got=staged(network).architecture,
            remedy="--calibrate False",
        )
    return layer
