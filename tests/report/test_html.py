"""The report file: valid nesting, nothing fetched, everything escaped, numbers aligned, pictures intact."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from medtl_monai.errors import ConfigError
from medtl_monai.report.figures import DicePair, dice_dot_figure
from medtl_monai.report.html import Cell, Figure, Section, Table, render_report

EVIL = '<script>alert("1")</script>'
VOID = {"meta", "img", "link", "br", "hr"}
PNG = dice_dot_figure([DicePair("a", 0.8, 0.6)])


class Tree(HTMLParser):
    """Checks that every tag is closed in order and keeps tags, attributes and texts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[tuple[str, dict[str, str | None], str]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append((self.open[-1], self.tags[-1][1], data))


def parse(document: str) -> Tree:
    tree = Tree()
    tree.feed(document)
    tree.close()
    assert tree.open == []
    return tree


def evil_report() -> str:
    table = Table([EVIL, "Dice"], [[EVIL, 0.5]], EVIL)
    sections = [Section(EVIL, [EVIL], [table, Figure(PNG, EVIL, EVIL)]) for _ in range(3)]
    return render_report(EVIL, [EVIL], sections, facts={EVIL: EVIL})


def test_the_skeleton_is_a_valid_document() -> None:
    document = render_report("Title", ["One."], [Section("A", ["b"])], facts={"seed": 7})
    tree = parse(document)
    assert document.startswith("<!DOCTYPE html>\n<html lang=en>")
    names = [tag for tag, _ in tree.tags]
    for once in ("html", "head", "title", "body", "h1", "main", "footer"):
        assert names.count(once) == 1
    ids = [attributes["id"] for _, attributes in tree.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "Not a medical device" in "".join(tree.texts)
    assert ("meta", {"charset": "utf-8"}) in tree.tags


def test_nothing_that_was_given_becomes_markup() -> None:
    document = evil_report()
    tree = parse(document)
    assert "script" not in {tag for tag, _ in tree.tags}
    assert "<script" not in document.lower()
    assert "".join(tree.texts).count(EVIL) == 1 + 1 + 1 + 3 * (1 + 1 + 1 + 1 + 1 + 1) + 3 + 2
    assert all(attributes["alt"] == EVIL for tag, attributes in tree.tags if tag == "img")


def test_nothing_is_fetched() -> None:
    document = evil_report()
    for tag, attributes in parse(document).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"https?:|//\w|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", document))
    assert "default-src 'none'" in document


def test_contents_point_to_sections() -> None:
    tree = parse(evil_report())
    ids = {attributes.get("id") for _, attributes in tree.tags}
    links = [str(attributes["href"]) for tag, attributes in tree.tags if tag == "a"]
    assert len(links) == 3
    assert all(link[1:] in ids for link in links)
    labelled = [attributes["aria-labelledby"] for _, attributes in tree.tags if "aria-labelledby" in attributes]
    assert set(labelled) <= ids


def test_pictures_are_embedded_whole_with_their_size() -> None:
    tree = parse(render_report("t", [], [Section("s", [], [Figure(PNG, "Dots")])], facts={}))
    (image,) = (attributes for tag, attributes in tree.tags if tag == "img")
    assert base64.b64decode(str(image["src"]).split(",", 1)[1]) == PNG
    assert image["width"] == "1200"
    assert image["alt"] == "Dots"


def test_numbers_are_formatted_and_right_aligned() -> None:
    rows: list[list[Cell]] = [["a", 3, 0.12345, np.float32(2.0), "x", True], ["b", None, float("nan"), -1.0, 4, False]]  # type: ignore[list-item]
    table = Table(["case", "n", "Dice", "HD95 (mm)", "mixed", "refused"], rows, decimals=2)
    document = render_report("t", [], [Section("s", [], [table])], facts={})
    cells = parse(document).cells
    texts = [text for _, _, text in cells]
    assert texts[6:] == ["a", "3", "0.12", "2.00", "x", "yes", "b", "–", "n/a", "−1.00", "4", "no"]
    right = [attributes.get("class") == "num" for _, attributes, _ in cells]
    assert right == [False, True, True, True, False, False] * 3
    assert re.search(r"\.num \{[^}]*text-align: right", document)
    assert [attributes.get("scope") for tag, attributes, _ in cells if tag == "th"] == ["col"] * 6 + ["row"] * 2


def test_undecodable_names_and_control_characters_can_be_written_as_utf8() -> None:
    name = b"case_\xff\x00\x1b".decode("utf-8", "surrogateescape")
    document = render_report(name, [], [], facts={})
    assert "case_\ufffd\ufffd\ufffd" in document.encode("utf-8").decode("utf-8")


def test_all_faulty_blocks_are_named_at_once() -> None:
    blocks: list[Table | Figure] = [
        Table(["a", "b"], [["x", 1], ["y"]]),
        Figure(b"GIF89a", "alt"),
        Figure(PNG, "  "),
        Figure(PNG, "fine"),
    ]
    with pytest.raises(ConfigError) as caught:
        render_report("t", [], [Section("first", [], blocks)], facts={})
    text = str(caught.value)
    for part in ("'first', block 1: rows of [1] cells under 2", "block 2: not a PNG", "block 3: no alt text"):
        assert part in text
    assert "block 4" not in text


def test_readable_on_paper_and_on_a_phone() -> None:
    document = render_report("t", [], [], facts={})
    assert "@media print" in document
    assert "max-width: 100%" in document
    assert 'name="viewport"' in document
    assert "color-scheme: light" in document
