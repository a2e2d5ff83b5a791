"""The arithmetic and the record of the benchmark on scores and fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture(scope="module")
def tau(project: Path) -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project / "benchmarks"))
        from tau import analysis, rows

        yield SimpleNamespace(analysis=analysis, rows=rows)


def rows_of(scores: dict[str, list[float]], reached: dict[str, list[float]]) -> list[dict]:
    found = []
    for source, values in reached.items():
        for seed, value in enumerate(values):
            same = {"dataset": "d", "source": source, "seed": seed, "rate": 0.1}
            found.append({"kind": "run", "value": value, **same})
            known = {
                "right": scores[source][seed],
                "wrong": -scores[source][seed],
                "some": None if source == "a" else 1.0,
            }
            found.append({"kind": "score", "scores": known, **same})
    return found


def test_tau_by_hand(tau: SimpleNamespace) -> None:
    """Of the 10 pairs of 5 sources one is in the wrong order: (9 - 1) / 10."""
    reached = {name: [0.1 * number] * 2 for number, name in enumerate("abcde")}
    scores = {**reached, "a": [0.15, 0.15]}
    table = tau.analysis.table_of(rows_of(scores, reached), "d")
    assert tau.analysis.tau(table["right"], table["reached"]) == pytest.approx(0.8)
    assert tau.analysis.tau(table["wrong"], table["reached"]) == pytest.approx(-0.8)
    assert sorted(table["some"]) == list("bcde")


def test_agreement_between_seeds_by_hand(tau: SimpleNamespace) -> None:
    """Three seeds of three sources: equal orders (tau 1), one pair swapped (1/3), and so the mean of 1, 1/3, 1/3."""
    reached = {"a": np.array([1.0, 1.1, 2.0]), "b": np.array([2.0, 2.1, 1.0]), "c": np.array([3.0, 3.1, 3.0])}
    assert tau.analysis.agreement(reached) == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    assert np.isnan(tau.analysis.agreement({name: values[:1] for name, values in reached.items()}))
    assert np.isnan(tau.analysis.agreement({}))


def test_intervals_hold_the_estimate_and_incomplete_sources_are_left_out(tau: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    reached = {name: [0.1 * number + 0.01 * rng.normal() for _ in range(3)] for number, name in enumerate("abcdefg")}
    rows = rows_of(reached, reached)[:-1]  # the last score of g is not there yet
    summary = tau.analysis.summarise(rows, ["d"])
    entry = summary["right"]["d"]
    assert entry["n"] == 6
    assert entry["tau"] == 1.0
    assert entry["low"] <= entry["tau"] <= entry["high"]
    assert summary["wrong"]["mean"]["tau"] == -1.0
    assert "some" not in summary  # the same for every source: no order to compare


def test_a_half_line_is_dropped_and_the_rest_stays(tau: SimpleNamespace, tmp_path: Path) -> None:
    place = tmp_path / "rows.jsonl"
    row = {"kind": "tune", "dataset": "d", "source": "a", "seed": 1, "rate": 0.1, "value": 0.5}
    assert tau.rows.read_rows(place) == []
    tau.rows.append_row(place, row)
    with place.open("a") as stream:
        stream.write('{"kind": "tu')
    assert tau.rows.read_rows(place) == [row]
    tau.rows.append_row(place, {**row, "seed": 2})
    assert [tau.rows.key_of(found) for found in tau.rows.read_rows(place)] == [
        ("tune", "d", "a", 1, 0.1),
        ("tune", "d", "a", 2, 0.1),
    ]
