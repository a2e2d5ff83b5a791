"""``medtl lint``: judges a bundle by reading alone. Nothing of it is imported, evaluated or unpickled."""

from __future__ import annotations

from pathlib import Path

from medtl_monai.bundle.lint_files import LARGE_FILES, check_files, check_large_files
from medtl_monai.bundle.lint_findings import LintFinding, Profile, Report
from medtl_monai.bundle.lint_logging import check_logging
from medtl_monai.bundle.lint_metadata import check_metadata
from medtl_monai.bundle.lint_nodes import Node
from medtl_monai.bundle.lint_programs import bases_of, expand, merge
from medtl_monai.bundle.lint_sources import Sources
from medtl_monai.bundle.lint_values import METADATA_ID, Names, ValueCheck, names_of
from medtl_monai.errors import ConfigError

_METADATA = "metadata"


def lint_bundle(bundle: str | Path, profile: Profile = "default") -> list[LintFinding]:
    """All findings about a bundle, by file and line; none at all for a bundle in order.

    Configurations are judged as runs put them together: ``evaluate`` and ``multi_gpu_train`` on top of ``train``,
    ``inference_trt`` on top of ``inference``, macros in place.

    Args:
        bundle: the bundle's folder, which holds ``configs``.
        profile: ``"default"`` for bundles of the model zoo, ``"strict"`` for those of this library. Both refuse the
            same dangers; strict allows only the expressions that this library's own bundles need.

    Raises:
        ConfigError: there is no such folder.
    """
    folder = Path(bundle)
    if not folder.is_dir():
        raise ConfigError("no such bundle", path=folder, expected="a folder that holds `configs`")
    report = Report(profile)
    check_files(folder, report)
    sources = Sources(folder, report)
    configs = _read(sources, report)
    _check_others(sources, report)
    _check_programs(configs, sources, report)
    return report.sorted()


def _read(sources: Sources, report: Report) -> dict[str, Node]:
    """The configurations by stem, the metadata too; a .yaml beside a .json of the same name has its suffix as well."""
    configs: dict[str, Node] = {}
    names = sources.configurations()
    for name in names:
        node = sources.read(name)
        stem = Path(name).stem
        if node is not None:
            configs[stem if stem not in configs else name] = node
    stems = {Path(name).stem for name in names}
    if _METADATA not in stems:
        report.add("config.missing", "configs/metadata.json", 1, "no metadata", "add configs/metadata.json")
    if not any(stem.startswith(("train", "inference")) for stem in stems):
        remedy = "add configs/inference.json or configs/train.json"
        report.add("config.missing", "configs", 1, "no train or inference configuration", remedy)
    return configs


def _check_others(sources: Sources, report: Report) -> None:
    for name in LARGE_FILES:
        root = sources.read(name) if sources.has(name) else None
        if root is not None:
            check_large_files(root, report)
    name = "configs/logging.conf"
    text = sources.text(name) if sources.has(name) else None
    if text is not None:
        check_logging(text, name, report)


def _check_programs(configs: dict[str, Node], sources: Sources, report: Report) -> None:
    metadata = configs.get(_METADATA)
    if metadata is not None:
        check_metadata(metadata, report)
    extra = [node for config in configs.values() for node in sources.of_macros(config)]
    names = names_of([*configs.values(), *extra], report)
    for stem in configs:
        trials = []
        for bases in bases_of(stem, configs):
            trial = Report(report.profile)
            files = [configs[name] for name in (*bases, stem)]
            _check_program(files, None if stem == _METADATA else metadata, names, sources, trial)
            trials.append(trial)
        _add_best(trials, report)


def _add_best(trials: list[Report], report: Report) -> None:
    """Take over the findings of all trials; those on ids only from the trial that has fewest, as it was meant so."""
    best = min(trials, key=lambda one: sum(_is_on_ids(found) for found in one.findings))
    for trial in trials:
        report.findings.update({found: None for found in trial.findings if trial is best or not _is_on_ids(found)})


def _is_on_ids(finding: LintFinding) -> bool:
    return finding.code in ("id.unknown", "id.override")


def _check_program(files: list[Node], metadata: Node | None, names: Names, sources: Sources, report: Report) -> None:
    mappings = [file for file in files if isinstance(file.value, dict)]
    root = merge(mappings, report) if len(mappings) == len(files) else files[-1].copy()
    if isinstance(root.value, dict):
        if metadata is not None:
            root.value.setdefault(METADATA_ID, metadata)
        elif files[-1].file.startswith(f"configs/{_METADATA}."):
            root = Node({METADATA_ID: root}, files[-1].file, 1)
    before = ValueCheck(root, names, report)
    expand(root, sources.read_macro, before.unknown, report)
    ValueCheck(root, names, report).check()
