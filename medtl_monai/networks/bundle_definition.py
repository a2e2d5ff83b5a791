"""The network of a MONAI bundle, read from its configuration as plain data: nothing of a bundle is ever executed."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from medtl_monai.errors import ConfigError

MONAI_NETWORKS = "monai.networks.nets"
_OWN_TARGETS = {
    "medtl_monai.networks.factory.build_network": "name",
    "medtl_monai.networks.factory.select_network": "network",
}
_FILES = tuple(f"configs/{stem}.{suffix}" for stem in ("inference", "train") for suffix in ("json", "yaml", "yml"))
_IDS = ("network_def", "network")
_UNREADABLE = (OSError, ValueError, RecursionError)  # a syntax error in JSON and text that is not UTF-8 are ValueErrors
_MOST_VALUES, _DEEPEST = 10_000, 32  # far above any network; references can make a small file very large
_PLAIN = "a plain value: nothing of a bundle is executed"
_WRITE_IT_OUT = "write the value itself into a copy of the bundle, if you know and trust it"
_OWN_REMEDY = "give a bundle of this library whose network is named, or its `models/model.pt`"


@dataclass(frozen=True)
class NetworkDefinition:
    """What a bundle's configuration says about its network.

    Attributes:
        name: name of a network of this library, empty for one of MONAI's.
        target: name in ``monai.networks.nets``, as a class name or a full path; empty for a network of this library.
        arguments: the target's arguments, plain values only.
        path: the configuration file.
        id: the id in that file.
    """

    name: str
    target: str
    arguments: dict[str, Any]
    path: Path
    id: str


def read_network_definition(bundle: str | Path) -> NetworkDefinition:
    """The network of a bundle: id ``network_def``, else ``network``, in its inference, else in its train configuration.

    References (``@id``, ``@id::part``, ``@id#part``) are replaced by the values they stand for. Anything that would
    need code to run is refused, also in values that look harmless: expressions (``$...``), macros (``%...``),
    components inside the arguments, targets outside ``monai.networks.nets``, components that need others first
    (``_requires_``) or may be switched off (``_disabled_``).

    Args:
        bundle: the bundle's folder, which holds ``configs``.

    Raises:
        ConfigError: there is no network, its definition is refused, a reference leads nowhere or in a circle, or a
            file cannot be read; the error names the file and the id.
    """
    folder = Path(bundle)
    files = [folder / name for name in _FILES if (folder / name).is_file()]
    for path in files:
        config = read_config(path)
        found = next((name for name in _IDS if name in config), None)
        if found is not None:
            return _Reader(config, path).definition(found)
    raise ConfigError(
        "the bundle has no network",
        path=folder,
        expected=f"an id {' or '.join(_IDS)} in one of {', '.join(_FILES)}",
        got=", ".join(str(path.relative_to(folder)) for path in files) or "none of these files",
        remedy="give the folder that holds `configs` and `models`",
    )


def expected_intensity(bundle: str | Path) -> str:
    """The intensities that a bundle's metadata names for its input ``image``: ``"unit"`` for [0, 1], else ``"zscore"``.

    Raises ConfigError if ``configs/metadata.json`` is damaged; a bundle without one counts as ``"zscore"``.
    """
    path = Path(bundle) / "configs" / "metadata.json"
    value: Any = read_config(path) if path.is_file() else {}
    for key in ("network_data_format", "inputs", "image", "value_range"):
        value = value.get(key) if isinstance(value, dict) else None
    return "unit" if value == [0, 1] else "zscore"


def read_config(path: Path) -> dict[str, Any]:
    """The content of a JSON or YAML configuration. Raises ConfigError if it cannot be read or is no mapping."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else _parse_yaml(text, path)
    except _UNREADABLE as error:
        raise ConfigError("the bundle's configuration cannot be read", path=path, got=error) from error
    if not isinstance(content, dict):
        raise ConfigError(
            "the bundle's configuration has no ids", path=path, expected="a mapping", got=type(content).__name__
        )
    return content


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "reading a YAML configuration needs PyYAML", path=path, remedy="pip install pyyaml, or convert it to JSON"
        ) from error
    try:
        return yaml.safe_load(text)  # the safe loader makes plain values only, no objects
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


class _Reader:
    """Turns the raw configuration under one id into plain values."""

    def __init__(self, config: dict[str, Any], path: Path) -> None:
        self.config, self.path = config, path
        self.values_left = _MOST_VALUES

    def definition(self, name: str) -> NetworkDefinition:
        component, where = self.follow(self.config[name], name, ())
        if not isinstance(component, dict) or not isinstance(component.get("_target_"), str):
            self.refuse_text(component, where)
            self.refuse(where, "not a component", "a mapping with `_target_`", component)
        target = component["_target_"]
        if target in _OWN_TARGETS:
            return NetworkDefinition(self.own_name(component, where), "", {}, self.path, name)
        self.require_simple(component, where)
        if "." in target and not target.startswith(f"{MONAI_NETWORKS}."):
            self.refuse(
                f"{where}#_target_",
                "code from outside MONAI's networks",
                f"{MONAI_NETWORKS}.* or its class name",
                target,
            )
        arguments = {
            key: self.plain(value, f"{where}#{key}", ()) for key, value in component.items() if not key.startswith("_")
        }
        return NetworkDefinition("", target, arguments, self.path, name)

    def own_name(self, component: dict[str, Any], where: str) -> str:
        """The name in a call of this library's own factory, through any number of them."""
        for _ in range(_DEEPEST):
            self.require_simple(component, where)
            key = _OWN_TARGETS[component["_target_"]]
            value, where = self.follow(component.get(key), f"{where}#{key}", ())
            if isinstance(value, str):
                self.refuse_text(value, where)
                return value
            if not (isinstance(value, dict) and value.get("_target_") in _OWN_TARGETS):
                self.refuse(where, "not the name of a network", "a name", value, _OWN_REMEDY)
            component = value
        self.refuse(where, "nested too deeply", f"at most {_DEEPEST} levels", "more")

    def require_simple(self, component: dict[str, Any], where: str) -> None:
        for key in component:
            if not isinstance(key, str):
                self.refuse(where, "not a component", "names of arguments", key)
            if key.startswith("_") and key not in ("_target_", "_desc_"):
                self.refuse(f"{where}#{key}", "a switch of MONAI's configuration language", "only `_target_`", key)

    def plain(self, value: Any, where: str, trail: tuple[str, ...]) -> Any:
        """A value with all references replaced; ``trail`` holds the references that led to it."""
        value, where, trail = self.follow_on(value, where, trail)
        self.values_left -= 1
        if self.values_left < 0 or where.count("#") > _DEEPEST:
            self.refuse(where, "too large", f"{_MOST_VALUES} values, {_DEEPEST} levels at most", "more")
        if isinstance(value, dict):
            if "_target_" in value:
                self.refuse(where, "a component", _PLAIN, value["_target_"])
            return {key: self.plain(item, f"{where}#{key}", trail) for key, item in value.items()}
        if isinstance(value, list):
            return [self.plain(item, f"{where}#{index}", trail) for index, item in enumerate(value)]
        self.refuse_text(value, where)
        if value is not None and not isinstance(value, (str, bool, int, float)):
            self.refuse(where, "of a type that no configuration needs", _PLAIN, type(value).__name__)
        return value

    def follow(self, value: Any, where: str, trail: tuple[str, ...]) -> tuple[Any, str]:
        return self.follow_on(value, where, trail)[:2]

    def follow_on(self, value: Any, where: str, trail: tuple[str, ...]) -> tuple[Any, str, tuple[str, ...]]:
        """The value behind a reference or a chain of them."""
        while isinstance(value, str) and value.startswith("@"):
            name = value[1:].replace("::", "#")
            if name in trail:
                self.refuse(where, "a reference in a circle", "a value", " -> ".join((*trail, name)))
            value, where, trail = self.look_up(name, where), f"{where} (@{name})", (*trail, name)
        return value, where, trail

    def look_up(self, name: str, where: str) -> Any:
        value: Any = self.config
        for part in name.split("#"):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                self.refuse(where, "a reference to nothing", "an id of the same file", f"@{name}", "check the bundle")
        return value

    def refuse_text(self, value: object, where: str) -> None:
        if isinstance(value, str) and value.startswith("$"):
            self.refuse(where, "an expression", _PLAIN, value)
        if isinstance(value, str) and value.startswith("%"):
            self.refuse(where, "a macro", _PLAIN, value)

    def refuse(self, where: str, why: str, expected: str, got: object, remedy: str = _WRITE_IT_OUT) -> NoReturn:
        text = str(got)
        raise ConfigError(
            f"the bundle's network cannot be used: {where!r} is {why}",
            path=self.path,
            expected=expected,
            got=text if len(text) <= 200 else f"{text[:200]}...",
            remedy=remedy,
        )
