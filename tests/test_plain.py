"""Anything becomes strict JSON, and no text keeps the folders of an absolute path."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtl_monai.errors import ConfigError
from medtl_monai.plain import plain, without_folders


def test_plain_values() -> None:
    @dataclass
    class Report:
        loaded: tuple[str, ...]
        ratio: float

    assert plain(Report(("a", "b"), float("-inf"))) == {"loaded": ["a", "b"], "ratio": "-Infinity"}
    assert plain({1: np.int8(3), "x": np.bool_(True), "y": {3, 1, 2}}) == {"1": 3, "x": True, "y": [1, 2, 3]}
    assert plain(np.array([1.0, np.nan])) == [1.0, "NaN"]
    big = plain(np.zeros(2000))
    assert big == f"array float64 (2000,) sha256 {hashlib.sha256(bytes(16000)).hexdigest()}"
    endless: list[Any] = []
    endless.append(endless)
    json.dumps(plain(endless))
    with pytest.raises(ConfigError, match="two keys"):
        plain({1: "a", "1": "b"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--dataset_dir=/home/doe/data", "--dataset_dir=data"),
        ("cannot read [file /home/doe/a.nii]", "cannot read [file a.nii]"),
        ("from /home/jane doe/data/a.nii.", "from data/a.nii."),
        ("in /home/jane doe", "in jane doe"),
        (r"C:\Users\doe\a.nii is bad", "a.nii is bad"),
        ("file:///home/doe/a.nii", "a.nii"),
        ("/a/b:/c/d", "b:d"),
        ("~/scans/a.nii", "a.nii"),
        ("https://example.org/doe/a", "https://example.org/doe/a"),
        ("$@total / @count * 1/2", "$@total / @count * 1/2"),
        ("images/a.nii", "images/a.nii"),
    ],
)
def test_folders_are_taken_out_of_texts(text: str, expected: str) -> None:
    assert without_folders(text, ["/home/jane doe"]) == expected


@pytest.mark.parametrize(("text", "expected"), [("/home/jane doe/x/a.nii", "a.nii"), ("/data", "data"), ("/", "/")])
def test_a_text_that_is_a_path_keeps_its_last_part(text: str, expected: str) -> None:
    assert plain(text) == expected
    assert plain([text, Path(text)]) == [expected, expected]
