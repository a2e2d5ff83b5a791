"""What is different from bundle to bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from medtl_monai.errors import ConfigError

Step = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Everything that a bundle's configurations are written from.

    Attributes:
        task: of the bundle.
        dimensions: of the network: 2 or 3.
        names: label value or class number -> name; in segmentation 0 is the background.
        network: name of the default network.
        preprocessing: the call of :mod:`medtl_monai.transforms.modality`: ``_target_`` and arguments, without network
            and keys.
        augmentation: random transforms after that, in order.
        epochs, learning_rate, batch_size, cases_per_epoch: knobs of these names.
        knobs: further knobs at the top of training and inference, which the other entries name with ``@``.
        patch_size: of segmentation, a knob of the same name.
        window: largest volume that goes through the network at once; segmentation by a 3D network.
        slice_axis: axis whose positions are the slices, for a 2D network on volumes.
        mirror_axes: axes of mirror images at test time, where the user asks for them.
        loss: the task's loss.
        crops: odds of random crops around a labelled voxel, and around any other.
        centres: whether crops around a label draw from all its voxels (``foreground``: large structures more often) or
            from each structure equally often, which small organs beside large ones, or tumours in organs, need.
        positive: class that sensitivity is about.
        source, strategy: what the command in an error about missing weights trains from, and how.
        datalist: default of the knob of this name; empty for ``datalist.json`` in the dataset folder.
    """

    task: Literal["segmentation", "classification"]
    dimensions: Literal[2, 3]
    names: Mapping[int, str]
    network: str
    preprocessing: Step
    augmentation: Sequence[Step]
    epochs: int
    learning_rate: float
    batch_size: int
    cases_per_epoch: int | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    patch_size: Sequence[int] | None = None
    window: Sequence[int] | None = None
    slice_axis: int | None = None
    mirror_axes: Sequence[int] = ()
    loss: Step | None = None
    crops: tuple[int, int] = (2, 1)
    centres: Literal["foreground", "structures"] = "foreground"
    positive: int = 1
    source: str = ""
    strategy: str = ""
    datalist: str = ""

    def __post_init__(self) -> None:
        if self.task == "segmentation" and (
            self.patch_size is None or (self.window is None) == (self.slice_axis is None)
        ):
            raise ConfigError(
                "a segmentation recipe is incomplete",
                expected="patch_size, and either window (3D network) or slice_axis (2D network)",
                got=f"{self.patch_size}, {self.window}, {self.slice_axis}",
            )

    @property
    def classes(self) -> int:
        """Number of channels of the network's output."""
        return len(self.names)

    @property
    def values(self) -> list[int]:
        """Label values or class numbers, in the order of the channels."""
        return sorted(self.names)

    @property
    def renumbered(self) -> bool:
        """Whether the label values have gaps, so that the channels are numbered otherwise."""
        return self.values != list(range(self.classes))

    @property
    def texts(self) -> dict[str, str]:
        """Channel number -> name, with text keys as JSON has them."""
        return {str(channel): self.names[value] for channel, value in enumerate(self.values)}

    @property
    def value_texts(self) -> dict[str, str]:
        """Label value -> name, with text keys as JSON has them."""
        return {str(value): self.names[value] for value in self.values}
