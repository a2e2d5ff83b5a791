"""The analysis against numbers by hand and against simulated studies whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulate import fail, make_design, simulate

from medtl_monai.study.analysis import analyse, mean_interval
from medtl_monai.study.cells import BASELINE, Arm
from medtl_monai.study.comparisons import sentences
from medtl_monai.study.compose import sections, summary
from medtl_monai.study.rows import Row

FINE = Arm("chest_ct", "fine_tune")


def _flat(arm: Arm, n: int) -> float:
    return 0.5 + 0.08 * math.log2(n)


def _helps(arm: Arm, n: int) -> float:
    return _flat(arm, n) + (0.0 if arm == BASELINE else 0.08)


def _scored(rows: list[Row], scores: dict[tuple[str, int], float]) -> list[Row]:
    """Rows whose comparison runs have planted scores."""
    return [replace(row, score=scores[row.strategy, row.seed]) if row.purpose == "comparison" else row for row in rows]


def test_numbers_by_hand() -> None:
    design = make_design(labelled=(4,), seeds=3, converged=0.0)
    rows, _ = simulate(design, _flat)
    planted = {("scratch", 0): 0.50, ("scratch", 1): 0.60, ("scratch", 2): 0.70}
    planted |= {("fine_tune", 0): 0.51, ("fine_tune", 1): 0.63, ("fine_tune", 2): 0.75}
    found = analyse(design, _scored(rows, planted), [])
    (entry,) = found.comparisons
    assert entry.interval is not None
    assert entry.interval.difference == pytest.approx(0.03)  # 0.01, 0.03, 0.05
    half = 4.302652729911275 * 0.02 / math.sqrt(3)  # t quantile with 2 degrees of freedom, tables
    assert (entry.interval.low, entry.interval.high) == pytest.approx((0.03 - half, 0.03 + half))
    assert entry.p_holm == pytest.approx(stats.ttest_rel([0.51, 0.63, 0.75], [0.5, 0.6, 0.7]).pvalue)
    assert (entry.pairs, entry.mean_arm, entry.mean_baseline) == (3, pytest.approx(0.63), pytest.approx(0.6))
    assert entry.interval.cases == 12
    (point,) = found.curves[BASELINE]
    assert (point.mean, point.low) == pytest.approx((0.6, 0.6 - 4.302652729911275 * 0.1 / math.sqrt(3)))
    assert entry.verdict("higher") == "not shown"


def test_holm_counts_every_comparison_of_a_family() -> None:
    design = make_design(strategies=("fine_tune", "linear_probe"), labelled=(2, 4))
    found = analyse(design, *simulate(design, _helps))
    p = [entry.interval.p for entry in found.comparisons if entry.interval is not None]
    assert len(p) == 2 * 2 + 2 * 2  # two arms at two n, against scratch and against converged scratch
    for family in (slice(0, 4), slice(4, 8)):  # the longer trained scratch is a question of its own
        smallest = found.comparisons[family][int(np.argmin(p[family]))]
        assert smallest.p_holm == pytest.approx(min(4 * min(p[family]), 1.0))


def test_an_interval_that_falls_to_the_correction_is_no_claim_and_said_so() -> None:
    """Differences 0.01, 0.03, 0.05, 0.04, 0.02 have p = 0.013 alone (t = 0.03 / (0.0158 / sqrt 5) = 4.24, 4 df)."""
    design = make_design(labelled=(2, 4, 8, 16), seeds=5, converged=0.0)
    rows, _ = simulate(design, _flat)
    effects = {
        2: (0.01, 0.03, 0.05, 0.04, 0.02),
        4: (1, -1, 2, -2, 0.1),
        8: (1, -2, 2, -1, 0.1),
        16: (3, -1, 1, -3, 0.1),
    }
    scored = [
        replace(row, score=0.5 + (effects[row.labelled][row.seed] if row.strategy != "scratch" else 0.0))
        if row.purpose == "comparison"
        else row
        for row in rows
    ]
    entry = analyse(design, scored, []).comparisons[0]
    assert entry.interval is not None
    assert entry.interval.p == pytest.approx(0.0132, abs=1e-4)
    assert entry.p_holm == pytest.approx(4 * entry.interval.p)
    assert entry.interval.low > 0
    assert entry.verdict("higher") == "not shown"
    (said,) = sentences(entry, design, "Dice")
    assert "2 labelled cases: No difference" in said
    assert "may be chance" in said


def test_a_true_effect_is_found_and_said() -> None:
    design = make_design()
    found = analyse(design, *simulate(design, _helps, case_sd=0.02))
    assert [entry.verdict("higher") for entry in found.comparisons if not entry.converged] == ["helps"] * 3
    (said,) = sentences(found.comparisons[0], design, "mean Dice")
    assert "2 labelled cases: Transfer by fine_tune from chest_ct helps compared with training from scratch" in said
    assert "new patients like these 12" in said  # who reaches farthest speaks alone
    few = replace(found.comparisons[0], patients_p_holm=0.5)
    seeds, patients = sentences(few, design, "mean Dice")
    assert "on these 12 test cases" in seeds
    assert "may be chance" in patients
    assert "transfer helps in 3" in summary(found)[0]
    (saved,) = found.saved
    assert saved.levels[0].equivalent == pytest.approx(4, rel=0.35)  # 0.08 is one doubling of n
    hurts = analyse(design, *simulate(design, lambda arm, n: -_helps(arm, n)))
    assert hurts.comparisons[0].verdict("higher") == "hurts"
    lower = make_design(better="lower")
    turned = analyse(lower, *simulate(lower, lambda arm, n: -_helps(arm, n)))
    assert turned.comparisons[0].verdict("lower") == "helps"
    assert "helps compared" in sentences(turned.comparisons[0], lower, "distance")[0]


def test_without_an_effect_nothing_is_claimed() -> None:
    """With Holm over all comparisons, at most 5 % of studies may claim anything: 11 of 100 has a chance below 1 %."""
    design = make_design(labelled=(2, 4), seeds=6, converged=0.0, rates=(1e-3,))
    claims = 0
    for seed in range(100):
        found = analyse(design, *simulate(design, _flat, seed=seed, cases=1))
        verdicts = {entry.verdict("higher") for entry in found.comparisons}
        said = " ".join(line for entry in found.comparisons for line in sentences(entry, design, "Dice"))
        assert ("helps" in verdicts or "hurts" in verdicts) == ("elps compared" in said or "urts compared" in said)
        claims += bool(verdicts & {"helps", "hurts"})
    assert claims <= 11


def test_an_incomplete_table_uses_complete_pairs_and_says_how_many() -> None:
    design = make_design(labelled=(4,), seeds=6, converged=0.0)
    rows, cases = simulate(design, _helps)
    missing = [row for row in rows if not (row.strategy == "fine_tune" and row.seed in (4, 5))]
    found = analyse(design, missing, cases)
    (entry,) = found.comparisons
    assert (entry.pairs, entry.planned) == (4, 6)
    assert "4 of 6 seeds so far" in sentences(entry, design, "Dice")[0]
    assert "not complete: 16 of 18 runs" in summary(found)[0]
    assert "fine_tune, 4 labelled cases: 2 of 6 seeds of the comparison" in found.not_run
    alone = [row for row in rows if row.purpose == "tuning" or (row.seed == 0)]
    nothing = analyse(design, alone, cases).comparisons[0]
    assert nothing.interval is None
    assert "nothing can be said" in sentences(nothing, design, "Dice")[0]
    empty = analyse(design, [], [])
    assert empty.comparisons[0].verdict("higher") == "not known"
    assert sections(empty, None, None)


def test_a_failed_run_is_left_out_of_its_pair_and_listed() -> None:
    design = make_design(labelled=(4,), seeds=6, converged=0.0)
    rows, cases = simulate(design, _helps, case_sd=0.01)
    lost = next(row for row in rows if row.purpose == "comparison" and row.seed == 3 and row.strategy == "scratch")
    rows[rows.index(lost)] = replace(lost, **fail(lost))  # type: ignore[arg-type]
    found = analyse(design, rows, [case for case in cases if case.run != lost.run])
    (entry,) = found.comparisons
    assert entry.interval is not None
    assert entry.patients is not None
    assert (entry.pairs, entry.interval.left_out, entry.interval.failed_baseline) == (5, 1, 1)
    assert math.isnan(entry.interval.by_seed[3])
    assert "Left out: 1 of 6 seeds with failed runs" in sentences(entry, design, "Dice")[0]
    assert [row.seed for row in found.failures] == [3]


def test_intervals_for_patients_need_the_same_cases_in_all_runs() -> None:
    design = make_design(labelled=(4,), seeds=4, converged=0.0)
    rows, cases = simulate(design, _helps, case_sd=0.02)
    assert analyse(design, rows, cases).comparisons[0].patients is not None
    other = [replace(case, case=f"{case.run} {case.case}") for case in cases]
    assert analyse(design, rows, other).comparisons[0].patients is None
    assert analyse(design, rows, []).comparisons[0].patients is None
    holes = [replace(case, score=math.nan) if case.case == "case 5" and case.run == "run7" else case for case in cases]
    entry = analyse(design, rows, holes).comparisons[0]
    assert entry.patients is not None
    assert (entry.dropped_cases, entry.patients.cases) == (1, 11)


def test_the_hierarchical_interval_has_the_mean_of_the_case_scores() -> None:
    design = make_design(labelled=(4,), seeds=4, converged=0.0)
    rows, cases = simulate(design, _helps, case_sd=0.05)
    entry = analyse(design, rows, cases).comparisons[0]
    assert entry.patients is not None
    assert entry.interval is not None
    assert entry.patients.difference == pytest.approx(entry.interval.difference)
    width = entry.interval.high - entry.interval.low
    assert entry.patients.high - entry.patients.low >= width * (1 - 1e-9)


def test_a_longer_training_from_scratch_is_better_and_transfer_does_no_harm() -> None:
    design = make_design(labelled=(4,), seeds=6, converged_seeds=4)
    found = analyse(design, *simulate(design, _helps, longer=0.3, seed_sd=0.004))
    longer = found.comparisons[1]
    assert longer.verdict("higher") == "worse"
    assert "does worse compared with training from scratch with 10 times" in sentences(longer, design, "Dice")[0]
    assert "transfer does worse in 1" in summary(found)[1]


def test_converged_scratch_is_paired_by_seed() -> None:
    design = make_design(labelled=(4,), seeds=6, converged_seeds=4)
    found = analyse(design, *simulate(design, _helps, longer=0.08, seed_sd=0.004))
    plain, longer = found.comparisons
    assert plain.verdict("higher") == "helps"
    assert (longer.converged, longer.pairs, longer.planned) == (True, 4, 4)
    assert longer.interval is not None
    assert abs(longer.interval.difference) < 0.02
    assert longer.verdict("higher") == "not shown"
    assert "with 10 times the epochs" in sentences(longer, design, "Dice")[0]
    assert "transfer helps in 1" in summary(found)[0]
    assert "10 times the epochs" in summary(found)[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"draw": "another"}, "do not share the drawn training cases: 4 labelled cases, seeds 2"),
        ({"head": "another"}, "do not share the initial head: 4 labelled cases, seeds 2"),
        ({"batches": "another"}, "do not share the order of the batches: 4 labelled cases, seeds 2"),
        ({"network": "resnet", "head": "its own"}, "fine_tune is another network"),
    ],
)
def test_a_broken_pair_is_seen(changes: dict[str, str], words: str) -> None:
    design = make_design(labelled=(4,), seeds=4, converged=0.0)
    rows, cases = simulate(design, _helps)
    assert analyse(design, rows, cases).cautions == []
    spoilt = next(row for row in rows if (row.purpose, row.strategy, row.seed) == ("comparison", "fine_tune", 2))
    rows[rows.index(spoilt)] = replace(spoilt, **changes)  # type: ignore[arg-type]
    (caution,) = analyse(design, rows, cases).cautions
    assert words in caution


def test_strategies_without_batches_and_rates_without_effect_are_no_caution() -> None:
    design = make_design(labelled=(4,), seeds=4, converged=0.0)
    rows, cases = simulate(design, _helps)
    fitted = [
        replace(row, batches="", score=0.5 if row.purpose == "tuning" else row.score)
        if row.strategy == "fine_tune"
        else row
        for row in rows
    ]
    assert analyse(design, fitted, cases).cautions == []
    edge = [replace(row, score=row.rate) if row.purpose == "tuning" else row for row in rows]
    again = [replace(row, rate=1e-2) if row.purpose != "tuning" else row for row in edge]
    (caution,) = analyse(design, again, cases).cautions
    assert "scratch at 4 (0.01), fine_tune at 4 (0.01)" in caution


def test_rows_of_another_rate_do_not_count_and_the_last_row_does() -> None:
    design = make_design(labelled=(4,), seeds=4, converged=0.0)
    rows, cases = simulate(design, _helps)
    stale = [replace(row, rate=0.5, score=99.0, run="old") for row in rows if row.purpose == "comparison"]
    assert analyse(design, stale + rows, cases).comparisons == analyse(design, rows, cases).comparisons
    first = replace(rows[-1], **fail(rows[-1]))  # type: ignore[arg-type]
    assert analyse(design, [first, *rows], cases).failures == []


def test_mean_interval_is_the_one_of_scipy() -> None:
    values = [0.3, 0.5, 0.45, 0.6]
    mean, low, high = mean_interval(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (mean, low, high) == pytest.approx((np.mean(values), *expected))
    assert math.isnan(mean_interval([0.5])[1])


def test_costs_are_relative_to_scratch() -> None:
    design = make_design(labelled=(4,), seeds=2, converged=0.0)
    rows, cases = simulate(design, _helps)
    slow = [replace(row, seconds=30.0, trainable=51) if row.strategy == "fine_tune" else row for row in rows]
    found = analyse(design, slow, cases)
    cost = {entry.arm: entry for entry in found.costs}
    assert (cost[BASELINE].seconds, cost[FINE].seconds, cost[FINE].trainable) == (10.0, 30.0, 51)
    tables = {block.caption: block for section in sections(found, None, None) for block in section.blocks
              if hasattr(block, "rows")}  # fmt: skip
    assert tables["Time and parameters of a run"].rows[1][4] == 3.0
