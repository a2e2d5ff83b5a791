"""Either datalist is read as what it is, and a broken one is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtl_monai.data.any_datalist import load_datalist
from medtl_monai.data.classification import ClassificationDatalist, make_classification_datalist
from medtl_monai.data.datalist import Datalist, make_datalist
from medtl_monai.data.phantom import write_cohort
from medtl_monai.errors import MedTLError


def test_masks_and_classes(tmp_path: Path) -> None:
    write_cohort(tmp_path / "masks", range(10), contrast="target")
    make_datalist(tmp_path / "masks").save(tmp_path / "masks.json")
    assert isinstance(load_datalist(tmp_path / "masks.json"), Datalist)
    for number in range(20):
        folder = tmp_path / "classes" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number}.png")
    make_classification_datalist(tmp_path / "classes").save(tmp_path / "classes.json")
    assert isinstance(load_datalist(tmp_path / "classes.json"), ClassificationDatalist)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"task": "classification"}', '{"task": "else"}'])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(MedTLError, match=r"list\.json"):
        load_datalist(tmp_path / "list.json")
