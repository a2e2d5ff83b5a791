"""The ranking on data with known truth."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cohort import (
    Constant,
    Knowing,
    NotANumber,
    TooSmall,
    classification,
    write_segmentation,
    write_volumes,
)

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.ranking.contestant import Contestant, RankSettings
from medtl_monai.ranking.page import page
from medtl_monai.ranking.rank import rank_contestants
from medtl_monai.ranking.sources import NOBODYS, Licensing, Unusable
from medtl_monai.ranking.target import Target, TargetCase, read_target

OPEN, CLOSED = Licensing("MIT", True), Licensing("CC-BY-NC-4.0", False)
KNOWING = Contestant("knowing", Knowing, OPEN)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return classification(write_volumes(tmp_path_factory.mktemp("signal"), 24, strength=0.1))


def settings(folder: Path) -> RankSettings:
    return RankSettings(repetitions=60, cache=folder)


def test_the_source_that_knows_wins_over_initial_weights_and_the_rest_is_told(cohort: Target, tmp_path: Path) -> None:
    lines: list[str] = []
    contestants = [
        KNOWING,
        Contestant("constant", Constant, OPEN),
        Contestant("nan", NotANumber, OPEN),
        Contestant("too small", TooSmall, OPEN),
    ]
    ranking = rank_contestants(
        cohort, contestants, [Unusable("absent", "not there")], settings(tmp_path), tell=lines.append
    )
    assert [source.source for source in ranking.sources] == ["knowing", "random:unet"]
    assert ranking.sources[0].probe.estimate > 0.95
    assert ranking.decision.group == ("knowing",)
    assert ranking.recommendation.source == "knowing"
    reasons = {entry.source: entry.reason for entry in ranking.failed}
    assert reasons.keys() == {"constant", "nan", "too small"}
    assert "do not vary" in reasons["constant"]
    assert "case p" in reasons["nan"]
    assert "not finite" in reasons["nan"]
    assert reasons["too small"].startswith("RuntimeError")
    assert len(lines) == 5
    text = page(ranking)
    for word in ("knowing", "random:unet", "absent", "do not vary", "Not a medical device"):
        assert word in text


def test_without_signal_no_source_is_shown_to_help(tmp_path: Path) -> None:
    target = classification(write_volumes(tmp_path / "noise", 20, strength=0.0))
    ranking = rank_contestants(target, [KNOWING], settings=settings(tmp_path / "cache"))
    assert ranking.decision.too_close
    assert ranking.recommendation.source is None
    assert any("no source is shown to help" in sentence for sentence in ranking.recommendation.sentences)


def test_equal_sources_are_decided_by_licence_and_cost(cohort: Target, tmp_path: Path) -> None:
    contestants = [Contestant("a closed", Knowing, CLOSED), Contestant("open", Knowing, OPEN)]
    ranking = rank_contestants(cohort, contestants, settings=settings(tmp_path))
    assert set(ranking.decision.group) == {"a closed", "open"}
    assert ranking.recommendation.source == "open"
    assert any("Too close to call" in sentence for sentence in ranking.recommendation.sentences)


def test_the_same_seed_gives_the_same_ranking_and_the_cache_is_used(cohort: Target, tmp_path: Path) -> None:
    first, second = (rank_contestants(cohort, [KNOWING], settings=settings(tmp_path)) for _ in range(2))
    assert all(source.seconds is not None for source in first.sources)
    assert all(source.seconds is None for source in second.sources)
    texts = []
    for ranking in (first, second):
        content = ranking.to_json()
        for row in content["sources"]:
            row.pop("seconds_per_image")
        texts.append(json.dumps(content, allow_nan=False))
    assert texts[0] == texts[1]


def test_copies_under_two_names_are_noted(tmp_path: Path) -> None:
    cases = write_volumes(tmp_path / "data", 12, strength=0.1)
    Path(cases[3].image).write_bytes(Path(cases[1].image).read_bytes())
    contestant = Contestant("knowing", Knowing, NOBODYS, random=True)
    ranking = rank_contestants(classification(cases), [contestant], settings=settings(tmp_path / "cache"))
    assert "cases p01 and p03 have the same features: copies?" in ranking.sources[0].notes


def cases_of(values: list[int]) -> tuple[TargetCase, ...]:
    return tuple(TargetCase(f"c{number}", f"p{number}", "none", value) for number, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0] * 9 + [1] * 3, "pattern: 3 patients.*label 1 more with pattern"),
        ([0] * 9, "nothing to tell apart.*only plain: 9 patients"),
    ],
)
def test_too_few_patients_are_refused_with_what_is_missing(values: list[int], words: str) -> None:
    target = Target("classification", cases_of(values), {0: "plain", 1: "pattern"}, 3, 1)
    with pytest.raises(DataError, match=words):
        rank_contestants(target, [KNOWING])


def test_rows_of_one_patient_are_one_patient() -> None:
    rows = tuple(TargetCase(f"c{number}", f"p{number % 4}", "none", number % 2) for number in range(20))
    with pytest.raises(DataError, match="too few labelled patients"):
        rank_contestants(Target("classification", rows, {0: "plain", 1: "pattern"}, 3, 1), [KNOWING])


def test_nothing_scored_and_too_few_draws_are_errors(cohort: Target, tmp_path: Path) -> None:
    constant = Contestant("constant", Constant, OPEN, random=True)
    with pytest.raises(DataError, match=r"no source could be scored.*constant: the features do not vary"):
        rank_contestants(cohort, [constant], settings=settings(tmp_path))
    with pytest.raises(ConfigError, match="--bootstrap 2 or more"):
        rank_contestants(cohort, [KNOWING], settings=RankSettings(repetitions=1))


def test_segmentation_reads_the_datalist_and_sees_the_boxes(tmp_path: Path) -> None:
    write_segmentation(tmp_path / "data", 8)
    read = partial(read_target, tmp_path / "data", "segmentation", datalist=None, seed=0, spatial_dims=None)
    target = read(labelled=6)
    assert (target.spatial_dims, target.channels, target.patients) == (3, 1, 6)
    random = Contestant("random:unet", partial(_unet, 0), NOBODYS, random=True)
    ranking = rank_contestants(target, [random], settings=settings(tmp_path / "cache"))
    (source,) = ranking.sources
    assert source.probe.estimate > 0.8  # intensities alone tell the boxes
    assert {name for name, value in source.scores.items() if value is not None} == {
        "probe_accuracy",
        "consistency",
        "knn",
        "logme",
        "h_score",
    }
    with pytest.raises(ConfigError, match="expected --spatial-dims 3"):
        read_target(tmp_path / "data", "segmentation", datalist=None, labelled=0, seed=0, spatial_dims=2)
    np.save(tmp_path / "data" / "images" / "stray.npy", np.zeros(1))  # other files are nobody's business
    assert len(read(labelled=0).cases) == 8


def _unet(seed: int):  # type: ignore[no-untyped-def]
    from medtl_monai.ranking.encoders import random_encoder

    return random_encoder("unet", 1, seed)
