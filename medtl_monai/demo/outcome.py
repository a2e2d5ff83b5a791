"""What came out of the demo, read back from the files that its commands wrote."""

from __future__ import annotations

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path

from medtl_monai.demo.plan import ARMS, DemoPlan
from medtl_monai.workflows.curves import read_curves

Dice = dict[str, dict[str, float]]


@dataclass(frozen=True)
class DemoOutcome:
    """Results of both arms.

    Attributes:
        curves: arm -> (epoch, validation Dice) points.
        dice: arm -> case -> structure -> Dice on the test cases.
    """

    curves: dict[str, list[tuple[int, float]]]
    dice: dict[str, Dice]

    def case_mean(self, arm: str, case: str) -> float:
        """Mean Dice of a case over its structures."""
        return statistics.fmean(self.dice[arm][case].values())

    def mean(self, arm: str) -> float:
        """Mean Dice of an arm over the test cases."""
        return statistics.fmean(self.case_mean(arm, case) for case in self.dice[arm])

    def median_case(self) -> str:
        """The test case whose Dice is in the middle of the transfer arm."""
        order = sorted(self.dice["transfer"], key=lambda case: self.case_mean("transfer", case))
        return order[len(order) // 2]

    def sentence(self) -> str:
        """One sentence of conclusion that claims no more than was seen."""
        better = sum(
            self.case_mean("transfer", case) > self.case_mean("scratch", case) for case in self.dice["scratch"]
        )
        return (
            f"Mean Dice on {len(self.dice['scratch'])} test cases: {self.mean('transfer'):.3f} with transfer, "
            f"{self.mean('scratch'):.3f} from scratch; transfer was better in {better} of them. One seed and one draw "
            "of training cases: a demonstration, not a proof."
        )


def read_outcome(plan: DemoPlan) -> DemoOutcome:
    """Collect curves and test scores of both arms."""
    return DemoOutcome(
        curves={arm: _curve(plan.run_folder(arm) / "curves.csv") for arm in ARMS},
        dice={arm: _dice(plan.run_folder(arm) / "test" / "metrics.csv") for arm in ARMS},
    )


def _curve(path: Path) -> list[tuple[int, float]]:
    return [(int(row["epoch"]), float(row["val_mean_dice"])) for row in read_curves(path) if row.get("val_mean_dice")]


def _dice(path: Path) -> Dice:
    found: Dice = {}
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["case"], {})[row["structure"]] = float(row["dice"])
    return found
