"""What a new bundle must pass before it gets its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from medtl_monai.bundle.lint import lint_bundle
from medtl_monai.bundle.planning.inventory import Inventory
from medtl_monai.bundle.planning.plan import Plan
from medtl_monai.errors import ConfigError, DataError, MedTLError


def check_bundle(folder: Path, plan: Plan, inventory: Inventory) -> None:
    """Lint it, run its network on what the metadata promise, and one case of the data through its transforms.

    Raises:
        ConfigError: the linter finds errors, or network and metadata disagree.
        DataError: the case does not pass; or what its transforms raise.
    """
    _lint(folder)
    _network(folder)
    _one_case(folder, plan, inventory)


def _lint(folder: Path) -> None:
    wrong = [finding for finding in lint_bundle(folder, "strict") if finding.severity == "error"]
    if wrong:
        lines = [f"{one.file}:{one.line}: {one.message} [{one.code}]" for one in wrong]
        raise ConfigError("\n  ".join(["the bundle does not pass medtl lint:", *lines]))


def _parser(folder: Path, name: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / f"{name}.json"))
    parser["bundle_root"] = str(folder)
    parser["dataset_dir"] = ""  # no data yet: nothing is read
    return parser


def _network(folder: Path) -> None:
    metadata = ConfigParser.load_config_file(str(folder / "configs" / "metadata.json"))["network_data_format"]
    image, pred = metadata["inputs"]["image"], metadata["outputs"]["pred"]
    shape = [length if isinstance(length, int) else int(length.partition("*")[0]) for length in image["spatial_shape"]]
    network = _parser(folder, "inference").get_parsed_content("network_def").eval()
    with torch.no_grad():
        output = network(torch.zeros(1, image["num_channels"], *shape))
    wanted = [1, pred["num_channels"], *(shape if pred["type"] == "image" else [])]
    if list(output.shape) != wanted:
        raise ConfigError("the network's output is not what the metadata say", expected=wanted, got=list(output.shape))


def _one_case(folder: Path, plan: Plan, inventory: Inventory) -> None:
    row = next(iter(inventory.cases))
    label: Any = row.label if isinstance(row.label, int) else str(inventory.folder / row.label)
    case = {"image": str((inventory.folder / row.image).absolute()), "label": label, "case": row.case}
    steps = _parser(folder, "train").get_parsed_content("train#preprocessing")
    try:
        made = steps(case)
    except RuntimeError as error:  # MONAI's wrapper around what a transform raises
        cause = _cause(error)
        raise DataError("this case does not pass the bundle's transforms", case=row.case, got=cause or error) from error
    items = made if isinstance(made, list) else [made]
    for item in items:
        _judge(item, plan, row.case)


def _cause(error: BaseException) -> MedTLError | None:
    found: BaseException | None = error
    while found is not None and not isinstance(found, MedTLError):
        found = found.__cause__
    return found


def _judge(item: Mapping[str, Any], plan: Plan, case: str) -> None:
    image = item["image"]
    tensor = image.as_tensor() if isinstance(image, MetaTensor) else torch.as_tensor(image)
    size = plan.patch_size.value or plan.image_size.value
    wanted = [1, *([size, size] if isinstance(size, int) else size or [])]
    if list(tensor.shape) != wanted or not bool(torch.isfinite(tensor).all()):
        finite = "finite" if bool(torch.isfinite(tensor).all()) else "not finite"
        raise DataError(
            "the prepared image is not what the network takes",
            case=case,
            expected=f"{wanted}, finite",
            got=f"{list(tensor.shape)}, {finite}",
        )
