"""One self-contained HTML file per report: nothing is fetched, no script runs, everything is escaped."""

from __future__ import annotations

import base64
import html
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from medtl_monai.errors import ConfigError
from medtl_monai.report.style import CSS

NOT_A_DEVICE = "Not a medical device. For research only; not for diagnosis or treatment."
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Control characters and lone surrogates (undecodable file names) may not stand in HTML.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# A second lock beside escaping: even an injected address would not be fetched.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SECTIONS_FOR_CONTENTS = 3

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first column names the row.

    Attributes:
        header: column names.
        rows: cells, as many per row as the header has. Numbers are right-aligned; None shows as a dash, NaN as n/a.
        caption: text above the table.
        decimals: digits after the point of cells of type float.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    decimals: int = 3


@dataclass(frozen=True)
class Figure:
    """A PNG picture with a text for those who do not see it (required) and a caption below."""

    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs of plain text, then tables and figures in the order given."""

    heading: str
    paragraphs: Sequence[str] = ()
    blocks: Sequence[Table | Figure] = ()


def render_report(
    title: str, summary_sentences: Sequence[str], sections: Sequence[Section], *, facts: Mapping[str, object]
) -> str:
    """The whole report as one HTML document (write it as UTF-8).

    Args:
        title: plain text, as all texts here.
        summary_sentences: what a reader in a hurry has to know; shown first.
        sections: the body, in order.
        facts: how it was made (versions, data, seeds, hashes), shown as a list at the end.

    Raises:
        ConfigError: a table with rows of another length than its header, a figure that is no PNG or has no alt text.
    """
    _check(sections)
    body = "\n".join(_section(section, number) for number, section in enumerate(sections, start=1))
    summary = "".join(f"<p>{_text(sentence)}</p>" for sentence in summary_sentences)
    return f"""<!DOCTYPE html>
<html lang=en>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{_text(title)}</title>
<style>
{CSS}</style>
</head>
<body>
<header>
<h1>{_text(title)}</h1>
{f'<div class="summary">{summary}</div>' if summary else ""}
</header>
{_contents(sections)}
<main>
{body}
{_facts(facts)}
</main>
<footer><p>{NOT_A_DEVICE}</p></footer>
</body>
</html>
"""


def _text(value: object) -> str:
    """Escaped text; characters that HTML forbids become the replacement character."""
    return html.escape(UNPRINTABLE.sub("\ufffd", str(value)), quote=True)


def _check(sections: Sequence[Section]) -> None:
    problems = []
    for section in sections:
        for number, block in enumerate(section.blocks, start=1):
            where = f"section {section.heading!r}, block {number}"
            if isinstance(block, Table):
                lengths = sorted({len(row) for row in block.rows} - {len(block.header)})
                if lengths:
                    problems.append(f"{where}: rows of {lengths} cells under {len(block.header)} column names")
            elif not block.png.startswith(PNG_SIGNATURE) or len(block.png) < 24:
                problems.append(f"{where}: not a PNG")
            elif not block.alt.strip():
                problems.append(f"{where}: no alt text")
    if problems:
        expected = "tables as wide as their header, PNG figures with alt text"
        raise ConfigError("cannot render the report", expected=expected, got="; ".join(problems))


def _contents(sections: Sequence[Section]) -> str:
    if len(sections) < SECTIONS_FOR_CONTENTS:
        return ""
    items = "".join(f'<li><a href="#s{n}">{_text(s.heading)}</a></li>' for n, s in enumerate(sections, start=1))
    return f'<nav aria-label="Contents"><ol>{items}</ol></nav>'


def _section(section: Section, number: int) -> str:
    paragraphs = "".join(f"<p>{_text(paragraph)}</p>\n" for paragraph in section.paragraphs)
    blocks = "\n".join(_table(block) if isinstance(block, Table) else _figure(block) for block in section.blocks)
    heading = f'<h2 id="h{number}">{_text(section.heading)}</h2>'
    return f'<section id="s{number}" aria-labelledby="h{number}">\n{heading}\n{paragraphs}{blocks}\n</section>'


def _figure(figure: Figure) -> str:
    width, height = struct.unpack(">II", figure.png[16:24])  # IHDR is always first
    data = base64.b64encode(figure.png).decode("ascii")
    caption = f"<figcaption>{_text(figure.caption)}</figcaption>" if figure.caption else ""
    image = f'<img src="data:image/png;base64,{data}" alt="{_text(figure.alt)}" width="{width}" height="{height}">'
    return f"<figure>{image}{caption}</figure>"


def _table(table: Table) -> str:
    numeric = [_is_numeric([row[column] for row in table.rows]) for column in range(len(table.header))]
    mark = [' class="num"' if is_number else "" for is_number in numeric]
    head = "".join(f'<th scope="col"{m}>{_text(name)}</th>' for name, m in zip(table.header, mark, strict=True))
    lines = []
    for row in table.rows:
        cells = [_cell(value, table.decimals) for value in row]
        first = f'<th scope="row"{mark[0]}>{cells[0]}</th>'
        rest = "".join(f"<td{m}>{cell}</td>" for cell, m in zip(cells[1:], mark[1:], strict=True))
        lines.append(f"<tr>{first}{rest}</tr>")
    caption = f"<caption>{_text(table.caption)}</caption>" if table.caption else ""
    label = _text(table.caption or "table")
    rows = "\n".join(lines)
    # Wide tables scroll inside their own box; tabindex lets the keyboard scroll it.
    return (
        f'<div class="wide" role="region" aria-label="{label}" tabindex="0">'
        f"<table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _is_numeric(values: Sequence[Cell]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, Real) and not isinstance(value, bool) for value in present)


def _cell(value: Cell, decimals: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return "n/a" if math.isnan(number) else f"{number:.{decimals}f}".replace("-", "−")
    return _text(value)


def _facts(facts: Mapping[str, object]) -> str:
    if not facts:
        return ""
    items = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>\n" for name, value in facts.items())
    heading = '<h2 id="facts">How this was made</h2>'
    return f'<section aria-labelledby="facts">\n{heading}\n<dl>\n{items}</dl>\n</section>'
