"""Attacks on whoever runs a bundle, each planted in a bundle folder: what would touch a canary file, and its rule."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Write = Callable[[Path, str], None]
METADATA: dict[str, Any] = {
    "schema": "https://project-monai.github.io/schema/meta_schema_20240725.json",
    "version": "0.1.0",
    "monai_version": "1.6.1",
    "pytorch_version": "2.15.0",
    "numpy_version": "2.4.6",
    "required_packages_version": {},
    "task": "t",
    "description": "d",
    "authors": "a",
    "copyright": "c",
    "network_data_format": {"inputs": {}, "outputs": {}},
}
UNET = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}


def write_bundle(folder: Path, **configs: Any) -> Path:
    """A bundle with metadata, and the given configurations: mappings as .json, texts under their own name."""
    (folder / "configs").mkdir(parents=True)
    for stem, content in {"metadata": METADATA, "inference": {"network_def": UNET}, **configs}.items():
        (folder / "configs" / f"{stem}.json").write_text(json.dumps(content, indent=1))
    return folder


def config(make: Callable[[str], Any], stem: str = "inference") -> Write:
    """Writes a bundle whose configuration holds what ``make`` gives for the command that touches the canary."""
    return lambda folder, command: (write_bundle(folder, **{stem: make(command)}), None)[1]


class _Reduce:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def _pickle_in_weights(folder: Path, command: str) -> None:
    write_bundle(folder)
    (folder / "models").mkdir()
    with zipfile.ZipFile(folder / "models" / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": _Reduce(command)}, protocol=2))
        archive.writestr("archive/version", "3\n")


def _bare_pickle(folder: Path, command: str) -> None:
    write_bundle(folder)
    (folder / "models").mkdir()
    (folder / "models" / "model.pt").write_bytes(pickle.dumps(_Reduce(command), protocol=4))


def _text(name: str, make: Callable[[str], str]) -> Write:
    def write(folder: Path, command: str) -> None:
        write_bundle(folder)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(command))

    return write


def _link_out(folder: Path, command: str) -> None:
    write_bundle(folder)
    (folder / "docs").symlink_to("/usr")


def _yaml_bomb(_: str) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


_LOGGING = """[loggers]
keys=root
[handlers]
keys=x
[formatters]
keys=
[logger_root]
handlers=x
[handler_x]
class=StreamHandler
args=(__import__('os').system({command!r}),)
"""

# name -> (how to write the bundle, the rule that has to refuse it)
ATTACKS: dict[str, tuple[Write, str]] = {
    "target_os_system": (config(lambda c: {"run": {"_target_": "os.system", "command": c}}), "target.forbidden"),
    "target_builtins_eval": (config(lambda c: {"a": {"_target_": "builtins.eval", "source": c}}), "target.forbidden"),
    "target_plain_builtin": (config(lambda c: {"a": {"_target_": "exec", "source": c}}), "target.forbidden"),
    "target_through_package": (
        config(lambda c: {"run": {"_target_": "monai.data.utils.os.system", "command": c}}),
        "target.forbidden",
    ),
    "target_by_reference": (
        config(lambda c: {"x": "os." + "system", "run": {"_target_": "@x", "command": c}}),
        "target.not-literal",
    ),
    "target_by_macro": (
        config(lambda c: {"x": "os." + "system", "run": {"_target_": "%x", "command": c}}),
        "value.forbidden-name",
    ),
    "target_computed": (
        config(lambda c: {"run": {"_target_": "$'os.sys' + 'tem'", "command": c}}),
        "target.not-literal",
    ),
    "target_by_override": (
        config(lambda c: {"network_def": UNET, "network_def#_target_": "os.system"}),
        "target.forbidden",
    ),
    "in_requires": (
        config(
            lambda c: {"a": {"_target_": "Compose", "_requires_": [{"b": [{"_target_": "os.system", "command": c}]}]}}
        ),
        "target.forbidden",
    ),
    "expression_in_requires": (
        config(lambda c: {"a": {"_target_": "Compose", "_requires_": f"$__import__('os').system({c!r})"}}),
        "expr.forbidden",
    ),
    "mode_debug": (
        config(lambda c: {"a": {"_target_": "os.system", "command": c, "_mode_": "debug"}}),
        "component.debug",
    ),
    "dunder_import": (config(lambda c: {"a": f"$__import__('os').system({c!r})"}), "expr.forbidden"),
    "mro": (config(lambda c: {"a": "$().__class__.__mro__[1].__subclasses__()"}), "expr.private"),
    "getattr_chain": (
        config(lambda c: {"a": f"$getattr(getattr(monai.utils.misc, 'subprocess'), 'run')({c!r}, shell=True)"}),
        "expr.forbidden",
    ),
    "f_string": (config(lambda c: {"a": "$f'{monai.__loader__.__init__.__globals__}'"}), "expr.private"),
    "format_attributes": (config(lambda c: {"a": "$'{0.__init__}'.format(monai)"}), "expr.format"),
    "partial": (
        config(lambda c: {"imports": ["$import os"], "a": {"_target_": "functools.partial", "func": "$os.system"}}),
        "expr.forbidden",
    ),
    "lambda_default": (config(lambda c: {"a": f"$(lambda f=eval: f({c!r}))()"}), "expr.forbidden"),
    "assignment_in_comprehension": (
        config(lambda c: {"imports": ["$import os"], "a": "$[0 for os.environ['LD_PRELOAD'] in ['x']]"}),
        "expr.construct",
    ),
    "import_subprocess": (config(lambda c: {"imports": ["$import subprocess"]}), "import.forbidden"),
    "import_in_metadata": (
        config(lambda c: {**METADATA, "description": "$import antigravity"}, "metadata"),
        "import.forbidden",
    ),
    "module_behind_reference": (
        config(lambda c: {"m": {"n": "$import os"}, "a": f"$@m#n.system({c!r})"}),
        "id.import",
    ),
    "reader_by_name": (
        config(lambda c: {"a": {"_target_": "LoadImaged", "keys": "image", "reader": "os.system", "command": c}}),
        "target.forbidden",
    ),
    "reader_computed": (
        config(lambda c: {"a": {"_target_": "LoadImaged", "keys": "i", "reader": ["$'os.' + 'system'"], "command": c}}),
        "target.not-literal",
    ),
    "reader_by_reference": (
        config(lambda c: {"x": "webbrowser.open", "a": {"_target_": "LoadImage", "reader": "@x", "url": c}}),
        "target.forbidden",
    ),
    "bundle_run": (
        config(lambda c: {"a": {"_target_": "monai.bundle.run", "config_file": "configs/other.json"}}),
        "target.forbidden",
    ),
    "config_parser": (config(lambda c: {"a": {"_target_": "ConfigParser", "config": {}}}), "target.forbidden"),
    "optional_import": (
        config(lambda c: {"a": f"$monai.utils.optional_import('os')[0].system({c!r})"}),
        "expr.forbidden",
    ),
    "torch_load": (config(lambda c: {"a": "$torch.load('x.pt', weights_only=False)"}), "expr.forbidden"),
    "torch_hub": (config(lambda c: {"a": {"_target_": "torch.hub.load", "repo_or_dir": "a/b"}}), "download.target"),
    "download_url": (
        config(lambda c: {"a": {"_target_": "monai.apps.download_url", "url": "https://example.org/x"}}),
        "download.target",
    ),
    "download_in_dataset": (
        config(lambda c: {"a": {"_target_": "Dataset", "download": True, "data": []}}),
        "download.argument",
    ),
    "address": (config(lambda c: {"a": {"_target_": "Dataset", "data": "https://example.org"}}), "url.component"),
    "macro_escape": (config(lambda c: {"a": "%../../x.json::a"}), "macro.escape"),
    "path_escape": (config(lambda c: {"a": "$@b + '/../../x'", "b": "."}), "path.parent"),
    "pickle_in_weights": (_pickle_in_weights, "weights.code"),
    "pickle_as_weights": (_bare_pickle, "weights.code"),
    "pickle": (_text("models/x.pkl", lambda c: c), "file.code"),
    "code_in_bundle": (_text("scripts/__init__.py", lambda c: f"import os; os.system({c!r})"), "file.code"),
    "link_out": (_link_out, "file.link"),
    "yaml_object": (
        _text("configs/train.yaml", lambda c: f"a: !!python/object/apply:os.system [{c!r}]\n"),
        "yaml.tag",
    ),
    "yaml_bomb": (_text("configs/train.yaml", _yaml_bomb), "config.too-large"),
    "yaml_circle": (_text("configs/train.yaml", lambda c: "a: &a [*a]"), "yaml.alias"),
    "yaml_nesting": (_text("configs/train.yaml", lambda c: "[" * 20_000), "config.too-deep"),
    "nesting": (_text("configs/train.json", lambda c: '{"a": ' + "[" * 200_000), "config.too-deep"),
    "expression_nesting": (config(lambda c: {"a": "$" + "-" * 3000 + "1"}), "expr.syntax"),
    "duplicate_key": (_text("configs/train.json", lambda c: '{"a": 1,\n "b": 2,\n "a": 3}'), "config.duplicate-key"),
    "logging": (_text("configs/logging.conf", lambda c: _LOGGING.format(command=c)), "logging.arguments"),
    "fetch_without_hash": (
        _text("large_files.json", lambda c: '{"large_files": [{"path": "models/a.pt", "url": "https://e.org"}]}'),
        "large-file.hash",
    ),
    "fetch_outside": (
        _text(
            "large_files.json",
            lambda c: json.dumps(
                {"large_files": [{"path": "../a", "url": "https://e.org", "hash_val": "0" * 64, "hash_type": "sha256"}]}
            ),
        ),
        "large-file.path",
    ),
}
# attacks that MONAI runs when it resolves the configuration, id -> what to resolve
REAL = {
    "target_os_system": "run",
    "target_through_package": "run",
    "target_by_reference": "run",
    "target_by_macro": "run",
    "target_computed": "run",
    "dunder_import": "a",
    "expression_in_requires": "a",
    "getattr_chain": "a",
    "module_behind_reference": "a",
    "optional_import": "a",
    "reader_by_name": "a",
    "reader_computed": "a",
}
