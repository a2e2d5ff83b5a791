"""The ``medtl`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medtl_monai import __version__
from medtl_monai.errors import MedTLError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status is 0 on success, 1 when data have errors, 2 on any refusal."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except MedTLError as error:
        print(f"medtl: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="medtl", description="Transfer learning for CT and MRI on MONAI.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_new(commands)
    _add_download(commands)
    _add_datalist(commands)
    _add_check(commands)
    _add_weights(commands)
    _add_demo(commands)
    _add_study(commands)
    _add_rank(commands)
    _add_soup(commands)
    _add_lint(commands)
    _add_doctor(commands)
    _add_label(commands)
    return parser


def _add_new(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("new", help="look at labelled data and write a bundle for them")
    command.add_argument("name", help="of the bundle, with the task in it: liver_ct_segmentation")
    command.add_argument("--data", type=Path, required=True, help="dataset folder, or a datalist in it")
    command.add_argument("--task", choices=("segmentation", "classification"), required=True)
    command.add_argument("--csv", type=Path, help="table of a classification: image,class[,patient][,case]")
    command.add_argument("--modality", choices=("ct", "mri"), help="where the files do not say it")
    command.add_argument("--source", default="auto", help="auto, scratch, a registry name or a weights file")
    command.add_argument("--labels", nargs="*", metavar="VALUE=NAME", help="names of the values, such as 1=liver")
    command.add_argument("--patient-pattern", help="regular expression whose first group is the patient in a case name")
    command.add_argument("--commercial", action="store_true", help="only sources known to allow commercial use")
    command.add_argument("--memory-gb", type=float, default=8.0, help="for a training step (default 8)")
    command.add_argument("--steps", type=int, help="of the training in all (default: by task)")
    command.add_argument("--output", type=Path, help="folder of the bundle (default: ./NAME)")
    command.set_defaults(run=_new)


def _new(options: argparse.Namespace) -> int:
    from medtl_monai.bundle.new.command import run_new

    print(run_new(options))
    return 0


def _add_download(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("download", help="a task of the Medical Segmentation Decathlon as a dataset folder")
    command.add_argument("task", help="such as Task09_Spleen")
    command.add_argument("folder", type=Path, help="the data go to FOLDER/TASK")
    command.set_defaults(run=_download)


def _download(options: argparse.Namespace) -> int:
    from medtl_monai.demo.decathlon import download_task

    download_task(options.task, options.folder, print)
    return 0


def _add_datalist(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("datalist", help="pair images with labels and split them by patient")
    command.add_argument("folder", type=Path, help="dataset folder: images/ and labels/, or a folder per class")
    command.add_argument("--classification", action="store_true", help="classes instead of masks")
    command.add_argument("--csv", type=Path, help="table of a classification: image,class[,patient][,case]")
    command.add_argument("--output", type=Path, help="JSON file to write (default: FOLDER/datalist.json)")
    command.add_argument("--validation", type=float, default=0.1, help="share of patients (default 0.1)")
    command.add_argument("--test", type=float, default=0.2, help="share of patients (default 0.2)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--patient-pattern", help="regular expression whose first group is the patient in a case name")
    command.add_argument(
        "--labels", nargs="*", metavar="VALUE=NAME", help="names of the values, such as 1=anterior 2=posterior"
    )
    command.set_defaults(run=_datalist)


def _datalist(options: argparse.Namespace) -> int:
    from medtl_monai.data.commands import datalist

    return datalist(options)


def _add_check(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("check", help="check every case of a dataset folder and report all that is wrong")
    command.add_argument("folder", type=Path, help="dataset folder")
    command.add_argument("--datalist", type=Path, help="datalist (default: FOLDER/datalist.json)")
    command.add_argument(
        "--colour", choices=("refuse", "luminance"), default="refuse", help="what to do with pictures in colour"
    )
    command.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from medtl_monai.data.commands import check

    return check(options)


def _add_weights(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("weights", help="pretrained weights: list, show, fetch, import, verify, where")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="table of the registry")
    listing.add_argument("--spatial-dims", type=int, choices=(2, 3), help="only networks for images of so many axes")
    listing.add_argument("--commercial", action="store_true", help="only licences that allow commercial use")
    listing.add_argument("--local", action="store_true", help="only files that are on this machine")
    actions.add_parser("show", help="all that is known about one row").add_argument("name")
    fetching = actions.add_parser("fetch", help="download one row, or find it locally")
    fetching.add_argument("name")
    fetching.add_argument("--commercial", action="store_true", help="refuse a licence that forbids commercial use")
    actions.add_parser("import", help="copy a file that you have into the folder").add_argument("file", type=Path)
    verifying = actions.add_parser("verify", help="check the hash of one local file, or of all")
    verifying.add_argument("name", nargs="?")
    actions.add_parser("where", help="folder where weights files are kept")
    command.set_defaults(run=_weights)


def _weights(options: argparse.Namespace) -> int:
    from medtl_monai.weights.commands import ACTIONS

    print(ACTIONS[options.action](options))
    return 0


def _add_demo(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("demo", help="train, evaluate, predict and report on small data")
    command.add_argument("--data", choices=("phantom", "hippocampus"), default="phantom")
    command.add_argument("--output", type=Path, default=Path("demo"))
    command.add_argument("--bundle", type=Path, help="bundle folder (default: the one of this checkout)")
    command.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from medtl_monai.demo.run import run_demo

    run_demo(options.data, options.output, options.bundle)
    return 0


def _add_rank(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("rank", help="which source of weights fits labelled data, before any training")
    command.add_argument("--data", type=Path, required=True, help="dataset folder")
    command.add_argument("--task", choices=("segmentation", "classification"), required=True)
    command.add_argument("--datalist", type=Path, help="datalist (default: DATA/datalist.json)")
    command.add_argument(
        "--sources",
        default="",
        metavar="A,B,C",
        help="registry names, weights files, bundle folders; a 2D one for 3D images may end in @i3d, @centre or @acs "
        "(default: every row of the registry that is on this machine). Initial weights are always compared too",
    )
    command.add_argument("--spatial-dims", type=int, choices=(2, 3), help="of the images (default: as the first one)")
    command.add_argument("--labelled", type=int, default=0, help="how many training cases, 0 for all")
    command.add_argument("--colour", choices=("refuse", "luminance"), default="refuse", help="pictures in colour")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--bootstrap", type=int, default=200, help="draws of patients for the intervals (default 200)")
    command.add_argument("--commercial", action="store_true", help="only sources known to allow commercial use")
    command.add_argument("--output", type=Path, help="folder for rank.json, rank.html and the cache of features")
    command.set_defaults(run=_rank)


def _rank(options: argparse.Namespace) -> int:
    from medtl_monai.ranking.command import run_rank

    return run_rank(options)


def _add_soup(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("soup", help="average several trainings of one bundle where that helps")
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folders of trainings")
    command.add_argument("--bundle", type=Path, required=True, help="bundle folder with configs/train.json")
    command.add_argument("--data", type=Path, required=True, help="dataset folder; its validation cases judge")
    command.add_argument("--datalist", default="", help="datalist (default: DATA/datalist.json)")
    command.add_argument("--uniform", action="store_true", help="average them all, whatever that does to the score")
    command.add_argument("--output", type=Path, default=Path("soup"))
    command.set_defaults(run=_soup)


def _soup(options: argparse.Namespace) -> int:
    from medtl_monai.workflows.soup import make_soup

    made = make_soup(
        options.bundle,
        options.runs,
        options.data,
        options.output,
        datalist=options.datalist,
        uniform=options.uniform,
    )
    for name, score in sorted(made.scores.items(), key=lambda row: -row[1]):
        print(f"{'in' if name in made.members else 'out':<4}{name}: {made.metric} {score:.4f}")
    print(f"{options.output / 'model.pt'}: {made.metric} {made.score:.4f} on {made.cases} validation cases")
    return 0


def _add_study(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("study", help="compare transfer with training from scratch over seeds, and report")
    command.add_argument("--bundle", type=Path, help="bundle folder with configs/train.json")
    command.add_argument("--data", type=Path, help="dataset folder")
    command.add_argument("--datalist", help="datalist (default: DATA/datalist.json); {seed} stands for the seed")
    command.add_argument("--sources", metavar="A,B", help="registry names, weights files or bundles")
    command.add_argument("--strategies", metavar="X,Y", help="transfer strategies; scratch is always compared with")
    command.add_argument("--labelled", metavar="2,4,8", help="numbers of labelled training cases")
    command.add_argument("--seeds", type=int, default=10)
    command.add_argument("--rates", default="3e-4,1e-3,3e-3", help="learning rates that every arm tries at every n")
    command.add_argument("--epochs", type=int, help="epochs of each run (default: the bundle's)")
    command.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE", help="settings of the bundle")
    command.add_argument("--converged", type=float, default=10.0, metavar="FACTOR", help="0: no longer scratch runs")
    command.add_argument("--converged-seeds", type=int, default=3)
    command.add_argument("--metric", help="metric of the bundle's evaluator (default: its key metric)")
    command.add_argument("--better", choices=("higher", "lower"), default="higher", help="which score is better")
    command.add_argument("--jobs", type=int, default=1, help="trainings at the same time")
    command.add_argument("--output", type=Path, default=Path("study"))
    command.add_argument("--report-only", action="store_true", help="report on the rows that --output has")
    command.add_argument("--retry-failed", action="store_true", help="run failed runs once more")
    command.add_argument("--allow-changed-bundle", action="store_true", help="go on with another bundle configuration")
    command.set_defaults(run=_study)


def _study(options: argparse.Namespace) -> int:
    from medtl_monai.study.command import study

    return study(options)


def _add_lint(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("lint", help="judge a bundle without running anything of it")
    command.add_argument("bundle", type=Path, help="bundle folder, which holds configs/")
    command.add_argument("--profile", choices=("default", "strict"), default="default", help="strict: our own bundles")
    command.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    command.set_defaults(run=_lint)


def _lint(options: argparse.Namespace) -> int:
    from medtl_monai.bundle.lint_command import run_lint

    text, status = run_lint(options)
    print(text)
    return status


def _add_label(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("label", help="start a MONAI Label server with bundles, for 3D Slicer")
    command.add_argument("--app", type=Path, required=True, help="app folder; made if it is not there")
    command.add_argument("--studies", type=Path, required=True, help="folder with scans; labels go there too")
    command.add_argument("--bundle", type=Path, nargs="+", required=True, help="bundle folders, copied into the app")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: only this machine)")
    command.add_argument("--port", type=int, default=8000)
    command.add_argument("--uncertainty", action="store_true", help="score the scans; adds the strategy most_uncertain")
    command.add_argument("--phantoms", type=int, default=0, metavar="N", help="write N phantoms into empty studies")
    command.add_argument("--prepare-only", action="store_true", help="make the folders, start nothing")
    command.set_defaults(run=_label)


def _label(options: argparse.Namespace) -> int:
    from medtl_monai.label.serve import label

    return label(options)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("doctor", help="run a bundle through the contract of MONAI's tools, row by row")
    command.add_argument("bundle", type=Path, help="bundle folder, which holds configs/; it is never written to")
    command.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    command.add_argument("--only", default="", metavar="ROW,...", help="only these rows")
    command.add_argument("--skip", default="", metavar="ROW,...", help="all but these rows")
    command.add_argument("--quick", action="store_true", help="run no commands of the bundle")
    command.add_argument("--trust", action="store_true", help="run it even if lint finds it dangerous")
    command.add_argument("--schema", help="file of MONAI's metadata schema (default: variable MEDTL_META_SCHEMA)")
    command.add_argument("--timeout", type=float, default=300.0, help="of each command, in seconds (default 300)")
    command.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from medtl_monai.bundle.doctor.command import run_doctor

    text, status = run_doctor(options)
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
