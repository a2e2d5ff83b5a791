"""On/off settings as they come from a command line."""

from __future__ import annotations

from medtl_monai.errors import ConfigError

_WORDS = {"true": True, "false": False}


def switch(name: str, value: object) -> bool:
    """The value of an on/off setting: a bool, or the word true or false in any case.

    MONAI's command line hands ``--resume false`` over as the text "false", which Python takes for true.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise ConfigError(f"setting {name!r} is on or off", expected="true or false", got=repr(value))
