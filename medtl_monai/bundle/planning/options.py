"""What a user may say about a plan."""

from __future__ import annotations

from dataclasses import dataclass

from medtl_monai.bundle.planning.source_facts import SourceFacts
from medtl_monai.errors import ConfigError

AUTO = "auto"
MODALITIES = ("ct", "mri")


@dataclass(frozen=True)
class PlanOptions:
    """Options of `plan.make_plan`.

    Attributes:
        name: name of the bundle to be; clinical words in it count (``liver_ct``).
        modality: ``"ct"`` or ``"mri"``; None to recognise it.
        source: ``"auto"``, ``"scratch"``, a registry name, a weights file or a bundle.
        sources: what is known of the sources (`source_facts.find_sources`); for ``auto`` all of the registry.
        memory_gb: memory for a training step, of the GPU or, without one, of the computer, in 10**9 bytes.
        commercial: only sources whose licence allows commercial use.
        steps: optimiser steps in all; None for the task's default.
        validation, test: fractions for these splits; None to choose them by the number of patients.
        seed: of the split.

    Raises:
        ConfigError: a value makes no sense.
    """

    name: str = ""
    modality: str | None = None
    source: str = AUTO
    sources: tuple[SourceFacts, ...] = ()
    memory_gb: float = 8.0
    commercial: bool = False
    steps: int | None = None
    validation: float | None = None
    test: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.modality is not None and self.modality not in MODALITIES:
            raise ConfigError("unknown modality", expected=" or ".join(MODALITIES), got=repr(self.modality))
        if not 1 <= self.memory_gb <= 1000:
            raise ConfigError("no such memory", expected="1 to 1000 GB", got=self.memory_gb, remedy="set memory_gb")
        if self.steps is not None and self.steps < 1:
            raise ConfigError("no training", expected="1 step at least", got=self.steps)
        for word, fraction in (("validation", self.validation), ("test", self.test)):
            if fraction is not None and not 0 < fraction < 0.5:
                raise ConfigError(f"bad fraction for {word}", expected="above 0, below 0.5", got=fraction)
