"""On/off settings from a command line."""

from __future__ import annotations

import pytest

from medtl_monai.errors import ConfigError
from medtl_monai.switch import switch


@pytest.mark.parametrize(
    ("value", "meaning"), [(True, True), (False, False), ("true", True), ("false", False), ("False", False)]
)
def test_words_and_bools(value: object, meaning: bool) -> None:
    assert switch("resume", value) is meaning


@pytest.mark.parametrize("value", ["", "no", 0, 1, None, "falsch"])
def test_anything_else_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match="resume"):
        switch("resume", value)
