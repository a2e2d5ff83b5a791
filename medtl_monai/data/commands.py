"""What ``medtl datalist`` and ``medtl check`` do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from medtl_monai.data.any_datalist import load_datalist
from medtl_monai.data.checks import check_cases, check_leakage
from medtl_monai.data.classification import ClassificationDatalist, make_classification_datalist
from medtl_monai.data.classification_checks import check_class_case, check_class_leakage
from medtl_monai.data.datalist import Datalist, make_datalist
from medtl_monai.errors import ConfigError
from medtl_monai.findings import Finding


def datalist(options: argparse.Namespace) -> int:
    """Make a datalist and say where it is and how many cases each split has."""
    made = _classification(options) if options.classification or options.csv else _segmentation(options)
    target = options.output or options.folder / "datalist.json"
    made.save(target)
    print(f"{target}: " + ", ".join(f"{len(cases)} {split}" for split, cases in made.splits.items()))
    return 0


def _segmentation(options: argparse.Namespace) -> Datalist:
    return make_datalist(
        options.folder,
        validation=options.validation,
        test=options.test,
        seed=options.seed,
        patient_pattern=options.patient_pattern,
        label_names=label_names(options.labels, {0: "background"}),
    )


def _classification(options: argparse.Namespace) -> ClassificationDatalist:
    return make_classification_datalist(
        options.folder,
        csv=options.csv or "",
        class_names=label_names(options.labels, {}),
        validation=options.validation,
        test=options.test,
        seed=options.seed,
        patient_pattern=options.patient_pattern,
    )


def label_names(words: Sequence[str] | None, known: dict[int, str]) -> dict[int, str] | None:
    """``["1=anterior"]`` as ``{1: "anterior"}``, added to what is known; None for None.

    Raises:
        ConfigError: a word is not VALUE=NAME.
    """
    if words is None:
        return None
    names = dict(known)
    for word in words:
        value, equals, name = word.partition("=")
        if not equals or not value.isdigit() or not name:
            raise ConfigError("label name cannot be read", expected="VALUE=NAME, such as 1=anterior", got=word)
        names[int(value)] = name
    return names


def check(options: argparse.Namespace) -> int:
    """Check every case of a dataset folder, print all findings, and return 1 if there are errors."""
    made = load_datalist(options.datalist or options.folder / "datalist.json")
    number = sum(len(rows) for rows in made.splits.values())
    findings = _masks(made, options) if isinstance(made, Datalist) else _classes(made, options)
    for finding in findings:
        print(f"{finding.severity:<8}{finding.case or '-'}: {finding.message} {finding.remedy}".rstrip())
    errors = sum(finding.severity == "error" for finding in findings)
    print(f"{number} cases, {errors} errors, {len(findings) - errors} other findings")
    return 1 if errors else 0


def _masks(made: Datalist, options: argparse.Namespace) -> list[Finding]:
    cases = [
        {"case": row.case, "image": str(options.folder / row.image), "label": str(options.folder / row.label)}
        for rows in made.splits.values()
        for row in rows
    ]
    return check_cases(cases, tuple(made.labels)) + check_leakage(made, options.folder)


def _classes(made: ClassificationDatalist, options: argparse.Namespace) -> list[Finding]:
    cases = [
        {"case": row.case, "image": str(options.folder / row.image)} for rows in made.splits.values() for row in rows
    ]
    findings = [finding for case in cases for finding in check_class_case(case, options.colour)]
    if not any(finding.severity == "error" for finding in findings):  # it reads every image again
        findings += check_class_leakage(made, options.folder, colour=options.colour)
    return findings
