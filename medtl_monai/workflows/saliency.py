"""Where a classifier looks: Grad-CAM of every case of an inference, as pictures and, for volumes, as NIfTI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events
from nibabel.affines import voxel_sizes
from torch import nn

from medtl_monai.errors import DataError, OutputError
from medtl_monai.io.atomic import write_bytes
from medtl_monai.io.nifti_save import save_nifti, set_affine
from medtl_monai.lookup import look_up
from medtl_monai.report.saliency import slice_saliency_figure, volume_saliency_figure
from medtl_monai.switch import switch
from medtl_monai.workflows.batches import batch_cases
from medtl_monai.workflows.classification_metrics import class_numbers, require_classes
from medtl_monai.workflows.grad_cam import FeatureMap, by, find_feature_map, grad_cam, require_explainable


class SaliencyPictures:
    """Evaluator handler that draws, for every case, where the network saw signs of a class (Grad-CAM).

    ``<case>.png``: a slice beside itself under the heat; of a volume the three planes through its hottest voxel, and in
    ``<case>.nii.gz`` the heat itself, float32 in [0, 1], on the grid of the network's input. Each file is written whole
    or not at all. It expects postprocessed outputs: ``pred`` the probabilities of the classes. Predictions and network
    stay as they are. Heat says what speaks for a class, in voxels of the feature map; it is no outline of a finding.

    Args:
        network: the network that predicts; see :func:`medtl_monai.workflows.grad_cam.find_feature_map`.
        folder: where the files go.
        class_names: class number -> name.
        enabled: nothing at all happens without it; also the text ``"true"`` or ``"false"``.
        target_class: number or name of the class to explain; None for the predicted class of each case.
        layer: name of the sub-module whose output is the feature map; empty for the deepest that will do.

    Raises:
        ConfigError: a switch that is none, an unknown class or layer, a network without a usable feature map.
        DataError: in the run, as many probabilities as classes are wanted, and heat that is finite.
        OutputError: in the run, a file cannot be written, two cases have one name, or a name is no file name.
    """

    def __init__(
        self,
        network: nn.Module,
        folder: str,
        class_names: Mapping[str, str],
        enabled: bool | str = False,
        target_class: int | str | None = None,
        layer: str = "",
    ) -> None:
        self.network, self.folder, self.layer = network, Path(folder), layer
        self.class_names = class_numbers(class_names)
        self.enabled = switch("explain", enabled)
        self.target = None if target_class is None else _class_number(self.class_names, target_class)
        self.written: set[str] = set()
        if self.enabled:
            require_explainable(network, layer)

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator, if enabled."""
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self.start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        """Forget an earlier run, and make the folder before any work is done."""
        self.written = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                "cannot make the folder of the saliency pictures",
                path=self.folder,
                got=error.strerror or str(error),
                remedy="choose an output folder that you may write to",
            ) from error

    def __call__(self, engine: Engine) -> None:
        """Write the files of a batch."""
        batch, cases = engine.state.batch, batch_cases(engine.state.batch)
        table = [tuple(float(value) for value in output["pred"]) for output in engine.state.output]
        for case, probabilities in zip(cases, table, strict=True):
            require_classes(probabilities, self.class_names, case)
            self._require_name(case)
        predicted = [probabilities.index(max(probabilities)) for probabilities in table]
        classes = predicted if self.target is None else [self.target] * len(predicted)
        heats, place = self._heats(batch, classes)
        for case, item, heat, probabilities, number in zip(cases, batch, heats, table, classes, strict=True):
            if not np.isfinite(heat).all():
                raise DataError("the network's gradient is not finite", case=case, got="NaN or infinity in Grad-CAM")
            self._write(case, item["image"], heat, self._caption(probabilities, number, heat, place))

    def _heats(self, batch: list[dict[str, Any]], classes: list[int]) -> tuple[np.ndarray, FeatureMap]:
        image = torch.stack([torch.as_tensor(_plain(item["image"])) for item in batch]).to(
            next(self.network.parameters())
        )
        place = find_feature_map(self.network, image, self.layer)
        return grad_cam(self.network, image, classes, place).cpu().numpy(), place

    def _require_name(self, case: str) -> None:
        if case in self.written or not case or Path(case).name != case:
            raise OutputError(
                "a saliency picture has no name of its own",
                case=case,
                expected="case names that differ and are file names",
                got="a second case of this name" if case in self.written else f"{case!r}",
                remedy="rename the images, or the cases in the datalist",
            )
        self.written.add(case)

    def _caption(self, probabilities: tuple[float, ...], number: int, heat: np.ndarray, place: FeatureMap) -> str:
        best = probabilities.index(max(probabilities))
        other = "predicted" if best == number else f"predicted is {self.class_names[best]}"
        kind = "" if heat.any() else "; nothing in the map speaks for this class"
        words = f"{self.class_names[number]}: probability {probabilities[number]:.3f} ({other})"
        return f"{words} · Grad-CAM, map of {by(place.size)}{kind}"

    def _write(self, case: str, image: torch.Tensor, heat: np.ndarray, caption: str) -> None:
        grey = _plain(image).float().cpu().numpy()[0]  # of several windows the first
        if grey.ndim == 2:
            write_bytes(self.folder / f"{case}.png", slice_saliency_figure(grey, heat, title=case, caption=caption))
            return
        affine = np.asarray(getattr(image, "affine", np.eye(4)), dtype=float)
        volume = nib.Nifti1Image(heat.astype(np.float32), affine)
        set_affine(volume, affine)
        save_nifti(volume, self.folder / f"{case}.nii.gz")
        hot = nib.as_closest_canonical(nib.Nifti1Image(heat.astype(np.float32), affine))
        seen = np.asarray(nib.as_closest_canonical(nib.Nifti1Image(grey, affine)).dataobj)
        spacing = [float(size) for size in voxel_sizes(hot.affine)]
        picture = volume_saliency_figure(seen, np.asarray(hot.dataobj), spacing, title=case, caption=caption)
        write_bytes(self.folder / f"{case}.png", picture)


def _plain(image: torch.Tensor) -> torch.Tensor:
    """Without MONAI's meta data, which would be carried through every operation."""
    return image.as_tensor() if hasattr(image, "as_tensor") else image


def _class_number(class_names: Mapping[int, str], wanted: int | str) -> int:
    """Number of a class given by name or number. Raises ConfigError if there is none."""
    by_name = {name: number for number, name in class_names.items()}
    numbers = {**{str(number): number for number in class_names}, **by_name}
    return look_up(numbers, str(wanted), "class")
