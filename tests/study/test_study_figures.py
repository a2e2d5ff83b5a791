"""The figures of a study: their size, their guards, and labels that do not touch."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from simulate import make_design, simulate

from medtl_monai.errors import ConfigError
from medtl_monai.report.study_figures import (
    CurvePoint,
    DifferenceBar,
    Panel,
    curves_figure,
    differences_figure,
    spread_apart,
)
from medtl_monai.study.analysis import analyse
from medtl_monai.study.cells import Arm
from medtl_monai.study.names import arm_names, short_source
from medtl_monai.study.pictures import panels

LINE = [CurvePoint(2, 0.4, 0.3, 0.5), CurvePoint(8, 0.6, math.nan, math.nan)]


def _size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


def test_pictures_are_1200_wide_and_the_same_twice() -> None:
    panel = Panel("", ("scratch", LINE), {"_fine $tune": LINE}, ("longer", LINE[:1]))
    one = curves_figure([panel], ylabel="Dice")
    assert _size(one)[0] == 1200
    assert one == curves_figure([panel], ylabel="Dice")
    assert _size(curves_figure([panel, panel], ylabel="Dice"))[1] > _size(one)[1]
    bars = [DifferenceBar("a", 2, 0.1, -10.0, 10.2, False), DifferenceBar("b", 4, -0.1, -0.2, -0.05, True)]
    assert _size(differences_figure(bars, xlabel="Dice", better="lower"))[0] == 1200
    assert _size(differences_figure([DifferenceBar("a", 2, 0.0, 0.0, 0.0, False)], xlabel="Dice"))[0] == 1200


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one finished run"):
        curves_figure([Panel("", ("scratch", []), {"a": []})], ylabel="Dice")
    with pytest.raises(ConfigError, match="at least one comparison"):
        differences_figure([], xlabel="Dice")


@pytest.mark.parametrize("seed", range(20))
def test_labels_keep_their_distance_their_order_and_inside(seed: int) -> None:
    places = sorted(np.random.default_rng(seed).beta(0.4, 0.4, size=9).tolist())
    moved = spread_apart(places, 0.1)
    assert min(np.diff(moved)) >= 0.1 - 1e-12
    assert moved[0] >= -1e-12
    assert moved[-1] <= 1 + 1e-12


def test_labels_that_do_not_touch_stay() -> None:
    assert spread_apart([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread_apart([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])


def test_many_arms_get_one_plot_per_source() -> None:
    few = make_design(sources=("a", "b"), strategies=("llrd", "lora"))
    many = make_design(sources=("a", "b"), strategies=("llrd", "lora", "ssf"))
    assert len(panels(analyse(few, *simulate(few, lambda arm, n: 0.5)))) == 1
    found = panels(analyse(many, *simulate(many, lambda arm, n: 0.5)))
    assert [(panel.title, list(panel.arms)) for panel in found] == [(name, ["llrd", "lora", "ssf"]) for name in "ab"]
    assert all(len(panel.baseline[1]) == 3 for panel in found)


def test_names_are_short_and_never_the_same() -> None:
    assert short_source("runs/tumour/models/model.pt") == "tumour"
    assert short_source("highres3dnet_gif") == "highres3dnet_gif"
    assert short_source("weights/night.pt") == "night.pt"
    design = make_design(sources=("x/tumour/models/model.pt", "y/tumour/models/model.pt"))
    names = arm_names(design)
    assert len(set(names.values())) == 3
    assert arm_names(make_design())[Arm("chest_ct", "fine_tune")] == "fine_tune"
