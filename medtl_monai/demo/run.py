"""``medtl demo``: source model -> fine-tune on few cases -> evaluate -> predict -> report."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from medtl_monai.demo.bundle_runs import BundleRun, run_together
from medtl_monai.demo.cohorts import hippocampus_data, phantom_data
from medtl_monai.demo.compose import closing_table, compose_report
from medtl_monai.demo.outcome import read_outcome
from medtl_monai.demo.plan import HIPPOCAMPUS_PLAN, PHANTOM_PLAN, DemoPlan
from medtl_monai.errors import ConfigError, OutputError
from medtl_monai.io.atomic import write_text

_MARKER = ".medtl-demo"
_BUNDLE = Path("bundles") / "hippocampus_mri_segmentation"


def run_demo(data: str, output: Path, bundle: Path | None = None) -> Path:
    """Run the whole demo and return the path of its report.

    Args:
        data: ``"phantom"`` or ``"hippocampus"``.
        output: folder for everything the demo makes; a folder of an earlier demo is replaced.
        bundle: bundle folder; by default the one beside the installed package's sources, or below this folder.

    Raises:
        ConfigError: unknown data, or no bundle found.
        OutputError: ``output`` is a folder that no demo made.
    """
    console = Console()
    bundle = _find_bundle(bundle)
    _make_room(output)
    if data == "phantom":
        plan = DemoPlan(bundle, output, phantom_data(output / "data"), PHANTOM_PLAN)
    elif data == "hippocampus":
        cohort = hippocampus_data(output / "data", console.print)
        plan = DemoPlan(bundle, output, cohort, HIPPOCAMPUS_PLAN)
    else:
        raise ConfigError("unknown demo data", expected="phantom or hippocampus", got=data)
    return run_plan(plan, console)


def run_plan(plan: DemoPlan, console: Console) -> Path:
    """Run the commands of a plan, write ``report.html`` into its output folder and print the closing table."""
    start = time.perf_counter()
    console.print(f"[bold]Transfer learning demo[/bold]: {plan.data.description}")
    watch = Watch(console)
    for runs in (plan.train_source(), plan.train_arms(), plan.evaluate_arms()):
        watch.run(runs)
    outcome = read_outcome(plan)
    case = outcome.median_case()
    image, label = (plan.data.target / kind / f"{case}.nii.gz" for kind in ("images", "labels"))
    watch.run(plan.predict(image))
    seconds = time.perf_counter() - start
    report = plan.output / "report.html"
    write_text(report, compose_report(plan, outcome, image, label, seconds))
    console.print(closing_table(outcome))
    console.print(outcome.sentence())
    console.print(f"Report: {report}   (finished in {seconds:.0f} s)")
    return report


class Watch:
    """Shows the progress of commands that run together: bars in a terminal, one line per command elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def run(self, runs: Sequence[BundleRun]) -> None:
        """Run the commands and show how far they are."""
        if not runs:
            return
        start = time.perf_counter()
        columns = (TextColumn("  {task.description:<28}"), BarColumn(), TextColumn("{task.fields[note]:<11}"))
        if not self.console.is_terminal:
            self.console.print("  running " + ", ".join(run.name for run in runs))
        with Progress(
            *columns, TimeElapsedColumn(), console=self.console, transient=True, disable=not self.console.is_terminal
        ) as progress:
            bars: dict[str, TaskID] = {run.name: progress.add_task(run.name, total=1.0, note="") for run in runs}

            def show(run: BundleRun, share: float, note: str) -> None:
                progress.update(bars[run.name], completed=share, note=note)

            run_together(runs, show)
        seconds = time.perf_counter() - start
        for run in runs:
            self.console.print(f"  [green]done[/green] {run.name:<28} {run.progress()[1]:<11} {seconds:5.0f} s")


def _find_bundle(bundle: Path | None) -> Path:
    places = [bundle] if bundle is not None else [Path(__file__).resolve().parents[2] / _BUNDLE, Path.cwd() / _BUNDLE]
    for place in places:
        if (place / "configs" / "train.json").is_file():
            return Path(os.path.relpath(place))
    raise ConfigError(
        "bundle not found",
        expected=f"{_BUNDLE} with configs/train.json",
        got="none in " + ", ".join(map(str, places)),
        remedy="run from a checkout of the project, or pass --bundle DIR",
    )


def _make_room(output: Path) -> None:
    if output.exists() and any(output.iterdir()):
        if not (output / _MARKER).is_file():
            raise OutputError(
                "output folder is not one of an earlier demo", path=output, remedy="choose an empty folder by --output"
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / _MARKER).touch()
