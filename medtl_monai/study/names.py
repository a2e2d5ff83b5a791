"""Short names of arms for tables and figures."""

from __future__ import annotations

from pathlib import Path

from medtl_monai.study.cells import BASELINE, Arm, arms
from medtl_monai.study.design import Design


def short_source(source: str) -> str:
    """The last telling part of a path: ``a/tumour_bundle/models/model.pt`` is ``tumour_bundle``."""
    parts = [part for part in Path(source).parts if part not in ("models", "model.pt", "/", ".", "..")]
    return parts[-1] if parts else source


def source_names(design: Design) -> dict[str, str]:
    """Source -> short name; the whole source where two would be called the same."""
    short = {source: short_source(source) for source in design.sources}
    twice = {name for name in short.values() if list(short.values()).count(name) > 1}
    return {source: source if name in twice else name for source, name in short.items()}


def arm_names(design: Design) -> dict[Arm, str]:
    """Arm -> name; the source is left out where there is only one."""
    short = source_names(design)
    one = len(design.sources) == 1
    return {
        arm: "scratch" if arm == BASELINE else arm.strategy if one else f"{short[arm.source]} · {arm.strategy}"
        for arm in arms(design)
    }


def arm_words(design: Design, arm: Arm) -> str:
    """The arm in a sentence: ``transfer by fine_tune from highres3dnet_gif``."""
    return f"transfer by {arm.strategy} from {source_names(design)[arm.source]}"
