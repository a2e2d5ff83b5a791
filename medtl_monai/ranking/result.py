"""What a ranking found, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from medtl_monai.ranking.decision import Decision
from medtl_monai.ranking.domain import DomainDistance
from medtl_monai.ranking.sources import Licensing, Unusable
from medtl_monai.transfer.scores.bootstrap import Interval

FORMAT = "medtl-rank/1"
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class RankedSource:
    """One source that was scored.

    Attributes:
        source: its name; ``random:<architecture>`` for initial weights.
        architecture: of its encoder.
        random: whether its weights are initial ones.
        parameters: of the encoder.
        feature_size: length of a feature vector.
        probe: the criterion with its own 95 % interval over patients.
        scores: the other scores by name; None where a score cannot be had.
        licensing: licence and commercial use.
        seconds: of the network per image; None where all features came from the cache.
        domain: distance to the source's own data; None where that is not known.
        notes: what is worth knowing about it.
    """

    source: str
    architecture: str
    random: bool
    parameters: int
    feature_size: int
    probe: Interval
    scores: Mapping[str, float | None]
    licensing: Licensing
    seconds: float | None
    domain: DomainDistance | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """What to do, and why.

    Attributes:
        source: the source to take; None where no source is shown to help.
        sentences: the reason, in plain words.
    """

    source: str | None
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """A finished ranking.

    Attributes:
        task, spatial_dims, classes: of the data.
        cases, patients: how many.
        criterion: name of the score that decides.
        sources: scored ones, best first.
        failed: sources that gave an error while they were scored.
        unusable: sources that were not tried.
        decision: which cannot be told apart from the best.
        recommendation: what to do.
        settings: seed, repetitions and so on.
    """

    task: str
    spatial_dims: int
    classes: Mapping[int, str]
    cases: int
    patients: int
    criterion: str
    sources: tuple[RankedSource, ...]
    failed: tuple[Unusable, ...]
    unusable: tuple[Unusable, ...]
    decision: Decision
    recommendation: Recommendation
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data; only ``seconds`` differs between two runs with the same input and seed."""
        return {
            "format": FORMAT,
            "task": self.task,
            "spatial_dims": self.spatial_dims,
            "classes": {str(value): name for value, name in self.classes.items()},
            "cases": self.cases,
            "patients": self.patients,
            "criterion": self.criterion,
            "settings": dict(self.settings),
            "recommendation": asdict(self.recommendation),
            "decision": asdict(self.decision),
            "sources": [_row(source) for source in self.sources],
            "failed": [asdict(entry) for entry in self.failed],
            "unusable": [asdict(entry) for entry in self.unusable],
        }


def _row(source: RankedSource) -> dict[str, Any]:
    return {
        "source": source.source,
        "architecture": source.architecture,
        "random": source.random,
        "probe": source.probe._asdict(),
        "scores": dict(source.scores),
        "feature_size": source.feature_size,
        "parameters": source.parameters,
        "licence": source.licensing.licence,
        "commercial": source.licensing.word,
        "domain_distance": NOT_KNOWN if source.domain is None else asdict(source.domain),
        "seconds_per_image": source.seconds,
        "notes": list(source.notes),
    }
