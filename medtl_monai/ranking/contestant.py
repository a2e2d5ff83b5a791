"""One source: its encoder, its features, its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.errors import MedTLError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.ranking.cache import user_cache
from medtl_monai.ranking.decision import interval_of
from medtl_monai.ranking.domain import DomainDistance, distance_to_source
from medtl_monai.ranking.encoders import parameters_of, random_encoder, source_encoder, split_method
from medtl_monai.ranking.features import SourceFeatures, dense, pooled
from medtl_monai.ranking.images import SampledVoxels
from medtl_monai.ranking.result import RankedSource
from medtl_monai.ranking.scoring import copies, criterion, other_scores
from medtl_monai.ranking.sources import NOBODYS, RANDOM, Licensing, licensing, row_of, shown_name
from medtl_monai.ranking.target import Target
from medtl_monai.transfer.scores.bootstrap import ResampledScore
from medtl_monai.transfer.source import is_file_source, source_file
from medtl_monai.weights.row import PretrainedWeights


@dataclass(frozen=True)
class RankSettings:
    """How sources are ranked.

    Attributes:
        repetitions: draws of patients for the intervals, two at least.
        seed: of initial weights, voxels, folds and draws.
        commercial: leave out sources that are not known to allow commercial use.
        cache: folder for features; None for one in the user's cache folder.
    """

    repetitions: int = 200
    seed: int = 0
    commercial: bool = False
    cache: Path | None = None

    @property
    def folder(self) -> Path:
        """Where features are kept."""
        return self.cache or user_cache()


@dataclass(frozen=True)
class Contestant:
    """A source to be scored.

    Attributes:
        name: as it is shown.
        build: makes its encoder.
        licence: what it allows.
        row: of the registry, if it is from there.
        weights: its file, if it is one of the user's.
        random: whether its weights are initial ones.
    """

    name: str
    build: Callable[[], Encoder]
    licence: Licensing
    row: PretrainedWeights | None = None
    weights: Path | None = None
    random: bool = False


@dataclass(frozen=True)
class Scored:
    """A scored source, and the draws of its criterion."""

    source: RankedSource
    score: ResampledScore


def contestant_of(name: str, target: Target) -> Contestant:
    """The contestant of a source that :func:`medtl_monai.ranking.sources.choose` lets pass."""
    plain, _ = split_method(name)
    weights = source_file(plain) if is_file_source(plain) else None

    def build() -> Encoder:
        return source_encoder(name, target.spatial_dims, target.channels)

    return Contestant(shown_name(name), build, licensing(name), row_of(name), weights)


def initial(encoder: Encoder, seed: int) -> Contestant:
    """The same encoder with initial weights."""
    architecture, channels = encoder.architecture, encoder.in_channels
    return Contestant(
        f"{RANDOM}:{architecture}", lambda: random_encoder(architecture, channels, seed), NOBODYS, random=True
    )


def score_contestant(
    target: Target,
    voxels: Mapping[str, SampledVoxels],
    contestant: Contestant,
    encoder: Encoder,
    settings: RankSettings,
) -> Scored:
    """Features and all scores of one source.

    Args:
        target: the data.
        voxels: by case, for segmentation; the same ones for every source.
        contestant: the source.
        encoder: that it has built.
        settings: seed, draws, cache.

    Raises:
        DataError: images that cannot be read or prepared, features that are not finite or do not vary.
    """
    if target.task == "classification":
        features = pooled(target.cases, encoder, contestant.row, settings.folder)
    else:
        features = dense(target.cases, voxels, encoder, contestant.row, settings.folder)
    score, accuracy = criterion(features, target.task, repetitions=settings.repetitions, seed=settings.seed)
    scores, notes = other_scores(features, target.task, settings.seed)
    notes += [f"{len(features.damaged)} damaged files of the cache were made again"] if features.damaged else []
    if target.task == "classification":
        notes += [f"cases {one} and {other} have the same features: copies?" for one, other in copies(features)]
    domain = _domain(contestant, features, target.task, settings.seed, notes)
    source = RankedSource(
        source=contestant.name,
        architecture=encoder.architecture,
        random=contestant.random,
        parameters=parameters_of(encoder),
        feature_size=features.features.shape[1],
        probe=interval_of(score),
        scores={"probe_accuracy": accuracy, **scores},
        licensing=contestant.licence,
        seconds=features.seconds,
        domain=domain,
        notes=tuple(notes),
    )
    return Scored(source, score)


def _domain(
    contestant: Contestant, features: SourceFeatures, task: str, seed: int, notes: list[str]
) -> DomainDistance | None:
    if contestant.weights is None or task != "classification":
        return None
    try:
        return distance_to_source(contestant.weights, features.features, features.groups, seed)
    except MedTLError as error:
        notes.append(f"domain distance: {error}")
        return None
