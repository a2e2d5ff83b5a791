"""The command line of ``medtl study``."""

from __future__ import annotations

import argparse
import json

from medtl_monai.errors import ConfigError
from medtl_monai.study.design import Design
from medtl_monai.study.output import REPORT, write_report

REQUIRED = ("bundle", "data", "sources", "strategies", "labelled")


def study(options: argparse.Namespace) -> int:
    """Run, go on with, or only report a study; the exit status is 130 after Ctrl-C, else 0."""
    folder = options.output
    if not options.report_only:
        from medtl_monai.study.run import Choices, run_study  # torch, which a report does not need

        choices = Choices(options.jobs, options.retry_failed, options.allow_changed_bundle)
        try:
            run_study(design_of(options), folder, choices, _say)
        except KeyboardInterrupt:
            _say(f"Stopped. The same command goes on where it was; --report-only reports on it ({folder}).")
            return 130
    for sentence in write_report(folder):
        _say(sentence)
    _say(f"Report: {folder / REPORT}")
    return 0


def design_of(options: argparse.Namespace) -> Design:
    """The settings that the options name. Raises ConfigError, naming what is missing or cannot be read."""
    from medtl_monai.study.preflight import read_config, training_config

    absent = [f"--{name}" for name in REQUIRED if getattr(options, name) is None]
    if absent:
        raise ConfigError("a study needs more options", expected=", ".join(absent), got="none of them")
    settings = _settings(options.set or [])
    epochs = options.epochs
    if epochs is None:
        epochs = read_config(training_config(options.bundle)).get("epochs")
    if not isinstance(epochs, int):
        raise ConfigError("the bundle does not tell its epochs", got=epochs, remedy="give --epochs")
    return Design(
        bundle=str(options.bundle),
        data=str(options.data),
        datalist=options.datalist or "",
        sources=_words(options.sources),
        strategies=_words(options.strategies),
        labelled=tuple(sorted(_numbers("labelled", options.labelled, int))),
        seeds=options.seeds,
        rates=tuple(sorted(_numbers("rates", options.rates, float))),
        epochs=epochs,
        settings=settings,
        converged=options.converged,
        converged_seeds=min(options.converged_seeds, options.seeds),
        metric=options.metric or "",
        better=options.better,
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(name: str, text: str, kind: type) -> list:
    try:
        return [kind(word) for word in _words(text)]
    except ValueError as error:
        raise ConfigError(f"--{name} cannot be read", expected="numbers with commas between", got=text) from error


def _settings(words: list[str]) -> dict[str, object]:
    settings: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ConfigError("--set cannot be read", expected="KEY=VALUE, such as patch_size=[32,32,32]", got=word)
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value  # a word without quotes
    return settings
