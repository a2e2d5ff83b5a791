"""What this package adds to MONAI Label's bundle app: the right weights, a sound uncertainty, labels refused at once.

Only MONAI Label imports this, from the ``main.py`` that `medtl_monai.label.prepare` writes:
``class App(Additions, stock_main.MyApp, MONAILabelApp)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import HTTPException
from monai.transforms import AsDiscreted, Invertd, SaveImaged
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring

from medtl_monai.data.label_order import submitted_names, value_map
from medtl_monai.errors import LabelError, MedTLError
from medtl_monai.io.nifti import read_nifti

STRATEGY = "most_uncertain"
UNSCORED = (
    "no scan has been scored yet; scoring starts with the server and after every training, and takes a few passes per "
    "scan: try again later, or choose another strategy"
)


class MostUncertain(Epistemic):
    """Next is the scan whose voxels the model is least sure of, among those not offered within a day."""

    def __init__(self) -> None:
        super().__init__(desc="The scan that the model is least sure of")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> Any:
        """The scan. Raises HTTPException while no unlabelled scan has a score: a silent guess would look alike."""
        images = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        if images and not any(self.key in datastore.get_image_info(image) for image in images):
            raise HTTPException(status_code=503, detail=UNSCORED)
        return super().__call__(request, datastore)


class ProbabilityScoring(EpistemicScoring):
    """MONAI Label's entropy of dropout passes, of probabilities instead of class numbers, one scan at a time.

    As it comes, it takes the entropy of the discrete mask: a voxel that is surely of class 2 counts as -2 ln 2. Several
    scans at a time share one configuration parser, which is not made for that.
    """

    def __init__(self, scoring: EpistemicScoring) -> None:
        task = scoring.infer_task
        task.post_filter = [SaveImaged, Invertd, AsDiscreted]
        task.add_post_restore = False
        super().__init__(task, max_samples=scoring.max_samples, simulation_size=scoring.simulation_size)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> Any:
        """Score all unlabelled scans that have no score of the present model."""
        return super().__call__({**request, "max_workers": 1}, datastore)


class Additions:
    """Mixed into MONAI Label's bundle app, before it."""

    def init_infers(self) -> dict[str, Any]:
        """The stock tasks, with weights that fit or an error: stock loads what it can and keeps random values else."""
        tasks: dict[str, Any] = super().init_infers()  # type: ignore[misc]
        for task in tasks.values():
            task.load_strict = True
            _order_files(task.config())
        return tasks

    def init_trainers(self) -> dict[str, Any]:
        """The stock trainers, which go on from weights that fit or not at all."""
        trainers: dict[str, Any] = super().init_trainers()  # type: ignore[misc]
        for trainer in trainers.values():
            trainer.load_strict = True
        return trainers

    def info(self) -> dict[str, Any]:
        """What clients show and send back, with weights files in a safe order for trainings too."""
        info: dict[str, Any] = super().info()  # type: ignore[misc]
        for trainer in info["trainers"].values():
            _order_files(trainer.get("config", {}))
        return info

    def init_strategies(self) -> dict[str, Any]:
        """The stock strategies, and `MostUncertain` where scoring is on (``--conf epistemic_model NAME``)."""
        strategies: dict[str, Any] = super().init_strategies()  # type: ignore[misc]
        if self.conf.get("epistemic_model"):  # type: ignore[attr-defined]
            strategies = {STRATEGY: MostUncertain(), **strategies}
        return strategies

    def init_scoring_methods(self) -> dict[str, Any]:
        """The stock methods, on probabilities."""
        methods: dict[str, Any] = super().init_scoring_methods()  # type: ignore[misc]
        return {name: ProbabilityScoring(method) for name, method in methods.items()}

    def on_save_label(self, image_id: str, label_id: str) -> Any:
        """Refuse a submitted label whose segments no model knows, while the person who drew it still looks at it.

        The file stays in the datastore; training refuses it too until it is submitted again.
        """
        path = self.datastore().get_label_uri(label_id, DefaultLabelTag.FINAL)  # type: ignore[attr-defined]
        if path:
            self._require_known_segments(path)
        return super().on_save_label(image_id, label_id)  # type: ignore[misc]

    def _require_known_segments(self, path: str) -> None:
        tasks = [task for task in self._infers.values() if task.type == InferType.SEGMENTATION]  # type: ignore[attr-defined]
        try:
            named = submitted_names(path)
            if named and tasks:
                present = [int(value) for value in np.unique(read_nifti(path, kind="label").array)]
                _require_one_that_knows(tasks, named, present)
        except MedTLError as error:
            raise HTTPException(status_code=400, detail=str(error)) from error  # Slicer shows the text


def _order_files(config: dict[str, Any]) -> None:
    """``model.pt`` first, as clients take the first by default and MONAI Label sorts by length."""
    if files := config.get("model_filename", []):
        config["model_filename"] = sorted(files, key=lambda name: (name != "model.pt", name))


def _require_one_that_knows(tasks: Sequence[Any], named: list[tuple[str, int]], present: list[int]) -> None:
    refused: list[LabelError] = []
    for task in tasks:
        try:
            value_map(named, present, {str(value): name for name, value in task.labels.items()})
        except LabelError as error:
            refused.append(error)
    if len(refused) == len(tasks):
        raise refused[0]
