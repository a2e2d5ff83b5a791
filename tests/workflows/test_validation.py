"""When validation runs: before training, every n epochs, and after the last."""

from __future__ import annotations

import logging

import pytest
from ignite.engine import Events
from toy import Toy

from medtl_monai.errors import ConfigError
from medtl_monai.workflows.validation import ValidateEvery


def judged_epochs(toy: Toy, handler: ValidateEvery) -> list[int]:
    judged: list[int] = []
    toy.attach(handler)
    toy.evaluator.add_event_handler(Events.COMPLETED, lambda engine: judged.append(toy.trainer.state.epoch))
    toy.run()
    return judged


@pytest.mark.parametrize(
    ("epochs", "interval", "before", "expected"),
    [
        (3, 1, True, [0, 1, 2, 3]),
        (5, 2, True, [0, 2, 4, 5]),
        (4, 2, False, [2, 4]),
        (2, 10, "false", [2]),
        (1, 10, "True", [0, 1]),
    ],
)
def test_validated_epochs(epochs: int, interval: int, before: bool | str, expected: list[int]) -> None:
    toy = Toy(epochs=epochs)
    assert judged_epochs(toy, ValidateEvery(toy.evaluator, interval, before)) == expected
    assert toy.trainer.state.validated_epoch == expected[-1]


def test_bad_settings_are_refused() -> None:
    toy = Toy()
    with pytest.raises(ConfigError, match="1 or more"):
        ValidateEvery(toy.evaluator, 0)
    with pytest.raises(ConfigError, match="'maybe'"):
        ValidateEvery(toy.evaluator, 1, "maybe")


def test_without_validation_cases_there_is_a_warning_and_no_judgement(caplog: pytest.LogCaptureFixture) -> None:
    toy = Toy(epochs=2, validation=0)
    with caplog.at_level(logging.WARNING):
        assert judged_epochs(toy, ValidateEvery(toy.evaluator)) == []
    assert [record.message for record in caplog.records if "no validation cases" in record.message]
    assert not hasattr(toy.trainer.state, "validated_epoch")
