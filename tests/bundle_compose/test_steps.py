"""Where the random crops of a composed training are centred."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.transforms import Compose
from monai.utils import set_determinism

from medtl_monai.bundle.compose.recipe import Recipe, Step
from medtl_monai.bundle.compose.steps import crop_steps
from medtl_monai.bundle.compose.suite import ABDOMEN

SIDE, DRAWS = 40, 600


def _case() -> dict[str, Any]:
    """A structure of 1000 voxels, one of 8 far away from it; the third of the names is not in this case."""
    label = torch.zeros(1, SIDE, SIDE, SIDE)
    label[:, 4:14, 4:14, 4:14] = 1
    label[:, 30:32, 30:32, 30:32] = 2
    return {"image": MetaTensor(label.clone()), "label": MetaTensor(label)}


def _recipe(**changes: Any) -> Recipe:
    names = {0: "background", 1: "large", 2: "small", 3: "missing"}
    return replace(ABDOMEN, names=names, patch_size=[5, 5, 5], **changes)


def _compose(recipe: Recipe) -> Compose:
    """The crops as the bundle's configuration gives them to MONAI."""
    transforms: list[Step] = crop_steps(recipe)
    values = {"both": ["image", "label"], "patch_size": [5, 5, 5], "out_channels": recipe.classes}
    made = ConfigParser({**values, "crop": {"_target_": "Compose", "transforms": transforms}})
    found = made.get_parsed_content("crop")
    assert isinstance(found, Compose)
    return found


def _centres(recipe: Recipe) -> Counter[int]:
    """How often the middle of a crop lies on each label, out of `DRAWS`."""
    set_determinism(seed=0)
    cases = CacheDataset([_case()], transform=_compose(recipe), progress=False, num_workers=1)
    loader = DataLoader(cases, batch_size=1)
    found: Counter[int] = Counter()
    for _ in range(DRAWS):
        batch = next(iter(loader))
        assert set(batch) == {"image", "label"}
        assert batch["label"].shape == (1, 1, 5, 5, 5)
        assert torch.equal(batch["image"], batch["label"])
        found[int(batch["label"][0, 0, 2, 2, 2])] += 1
    set_determinism(seed=None)
    return found


@pytest.mark.parametrize(("pos", "neg"), [(2, 1), (1, 1)])
def test_a_small_structure_is_a_centre_as_often_as_a_large_one(pos: int, neg: int) -> None:
    """The odds hold although a named structure is missing; each of the two others has half of ``pos``."""
    found = _centres(_recipe(centres="structures", crops=(pos, neg)))
    shares = {0: neg / (pos + neg), 1: pos / (pos + neg) / 2, 2: pos / (pos + neg) / 2}
    for label, share in shares.items():
        deviation = (share * (1 - share) / DRAWS) ** 0.5
        assert abs(found[label] / DRAWS - share) < 4 * deviation, found


def test_without_it_the_small_structure_is_hardly_seen() -> None:
    """8 of 1008 labelled voxels in two of three crops: 3 of 600 are expected."""
    found = _centres(_recipe(centres="foreground"))
    assert found[2] < 15
    assert found[1] > DRAWS / 2
