"""The ranking itself: every source through the same images, the same folds and the same draws of patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from medtl_monai.errors import ConfigError, DataError, MedTLError
from medtl_monai.ranking.advice import recommend
from medtl_monai.ranking.contestant import Contestant, RankSettings, Scored, contestant_of, initial, score_contestant
from medtl_monai.ranking.decision import decide
from medtl_monai.ranking.images import SampledVoxels, sample_voxels
from medtl_monai.ranking.result import Ranking
from medtl_monai.ranking.scoring import CRITERION
from medtl_monai.ranking.sources import Unusable, choose
from medtl_monai.ranking.target import Target, require_enough

# What goes wrong in one source and must not stop the others: also networks that do not take an image's size (torch).
_FAILURES = (MedTLError, RuntimeError, ValueError, MemoryError, np.linalg.LinAlgError)
Tell = Callable[[str], None]
Made = TypeVar("Made")


def rank_sources(
    target: Target, wanted: Sequence[str], settings: RankSettings | None = None, tell: Tell = lambda line: None
) -> Ranking:
    """Compare sources on the user's labelled training cases.

    Args:
        target: the data.
        wanted: registry names, files, bundle folders; empty for all rows of the registry that are on this machine. The
            encoder of each, with initial weights, is scored too.
        settings: seed, draws, cache.
        tell: called with a line of progress for every source.

    Raises:
        ConfigError: no source can be used, or one is named twice.
        WeightsError: a name that is in no registry.
        DataError: too few patients, label maps that cannot be used, or no source that could be scored; the message
            then holds the errors of all.
    """
    chosen = RankSettings() if settings is None else settings
    usable, unusable = choose(wanted, target.spatial_dims, commercial=chosen.commercial)
    return rank_contestants(target, [contestant_of(name, target) for name in usable], unusable, chosen, tell)


def rank_contestants(
    target: Target,
    contestants: Sequence[Contestant],
    unusable: Sequence[Unusable] = (),
    settings: RankSettings | None = None,
    tell: Tell = lambda line: None,
) -> Ranking:
    """As :func:`rank_sources`, for encoders that the caller builds; initial weights are added per architecture."""
    chosen = RankSettings() if settings is None else settings
    if chosen.repetitions < 2:
        raise ConfigError("too few draws for an interval", expected="--bootstrap 2 or more", got=chosen.repetitions)
    voxels = _voxels(target, chosen.seed)
    _require_patients(target, voxels)
    scored: dict[str, Scored] = {}
    failed: list[Unusable] = []
    architectures: list[str] = []
    queue = list(contestants)
    while queue:
        contestant = queue.pop(0)
        encoder = _attempt(contestant, contestant.build, failed, tell)
        if encoder is None:
            continue
        if encoder.architecture not in architectures:
            architectures.append(encoder.architecture)
            if not contestant.random:
                queue.append(initial(encoder, chosen.seed))
        make = partial(score_contestant, target, voxels, contestant, encoder, chosen)
        found = _attempt(contestant, make, failed, tell)
        if found is not None:
            scored[contestant.name] = found
            tell(f"{contestant.name}: {found.source.probe.estimate:.3f}")
    return _finished(target, scored, failed, unusable, chosen)


def _attempt(contestant: Contestant, make: Callable[[], Made], failed: list[Unusable], tell: Tell) -> Made | None:
    try:
        return make()
    except _FAILURES as error:
        reason = str(error) if isinstance(error, MedTLError) else f"{type(error).__name__}: {error}"
        failed.append(Unusable(contestant.name, reason))
        tell(f"{contestant.name}: failed: {reason}")
        return None


def _voxels(target: Target, seed: int) -> dict[str, SampledVoxels]:
    """The same voxels for every source; empty for classification. All bad label maps are in one error."""
    if target.task == "classification":
        return {}
    found, faults = {}, []
    for case in target.cases:
        try:
            found[case.case] = sample_voxels(str(case.label), case.case, seed)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError(f"{len(faults)} of {len(target.cases)} label maps cannot be used", got=" | ".join(faults))
    return found


def _require_patients(target: Target, voxels: Mapping[str, SampledVoxels]) -> None:
    patients: dict[int, set[str]] = {value: set() for value in target.classes}
    for case in target.cases:
        values = np.unique(voxels[case.case].labels).tolist() if voxels else [int(case.label)]
        for value in values:
            patients.setdefault(value, set()).add(case.patient)
    require_enough(patients, target.classes)


def _finished(
    target: Target,
    scored: Mapping[str, Scored],
    failed: Sequence[Unusable],
    unusable: Sequence[Unusable],
    settings: RankSettings,
) -> Ranking:
    if not scored:
        raise DataError(
            "no source could be scored", got=" | ".join(f"{entry.source}: {entry.reason}" for entry in failed)
        )
    decision = decide({name: entry.score for name, entry in scored.items()})
    sources = tuple(scored[name].source for name in decision.order)
    name = CRITERION[target.task]
    return Ranking(
        task=target.task,
        spatial_dims=target.spatial_dims,
        classes=target.classes,
        cases=len(target.cases),
        patients=target.patients,
        criterion=name,
        sources=sources,
        failed=tuple(failed),
        unusable=tuple(unusable),
        decision=decision,
        recommendation=recommend(decision, sources, name),
        settings={
            "seed": settings.seed,
            "repetitions": settings.repetitions,
            "commercial": settings.commercial,
        },
    )
