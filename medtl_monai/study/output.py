"""The files that a study's analysis writes: ``report.html`` and its figures."""

from __future__ import annotations

from pathlib import Path

from medtl_monai.io.atomic import write_bytes, write_text
from medtl_monai.report.html import render_report
from medtl_monai.study.analysis import analyse
from medtl_monai.study.compose import facts, sections, summary
from medtl_monai.study.design import load_design
from medtl_monai.study.pictures import curves_png, differences_png
from medtl_monai.study.software import software_words
from medtl_monai.study.table import read_table

REPORT, CURVES, DIFFERENCES = "report.html", "curves.png", "differences.png"


def write_report(folder: Path) -> list[str]:
    """Analyse the rows that a study has so far, write report and figures, and return the sentences of conclusion.

    It changes nothing of the study, which may be running.

    Raises:
        ConfigError: there is no study in the folder.
        FormatError: its table cannot be read.
        OutputError: a file cannot be written.
    """
    design, prints, changed = load_design(folder)
    found = analyse(design, *read_table(folder))
    pictures = {name: png for name, png in ((CURVES, curves_png(found)), (DIFFERENCES, differences_png(found))) if png}
    for name, png in pictures.items():
        write_bytes(folder / name, png)
    sentences = summary(found, len(changed))
    body = sections(found, pictures.get(CURVES), pictures.get(DIFFERENCES))
    title = "Transfer against training from scratch"
    notes = {**facts(design, prints, changed), **software_words(folder)}
    write_text(folder / REPORT, render_report(title, sentences, body, facts=notes))
    return sentences
