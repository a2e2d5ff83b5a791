"""Which expressions and components pass, and which do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from lint_attacks import write_bundle
from monai.bundle.config_item import ComponentLocator

from medtl_monai.bundle.lint import lint_bundle
from medtl_monai.bundle.lint_expressions import check_expression
from medtl_monai.bundle.lint_findings import Profile
from medtl_monai.bundle.lint_imports import bound_names, check_import, import_statement
from medtl_monai.bundle.lint_names import GLOBALS, STRICT_ATTRIBUTES, STRICT_VALUES
from medtl_monai.bundle.lint_targets import check_target

IMPORTS = ("import os", "import glob", "import torch.distributed as dist", "from functools import partial")


def judge(text: str, profile: Profile, imports: tuple[str, ...] = IMPORTS) -> set[str]:
    names = {name: frozenset({dotted}) for name, dotted in GLOBALS.items()}
    for one in imports:
        statement = import_statement(one)
        assert statement is not None
        names |= {name: frozenset({dotted}) for name, dotted in bound_names(statement, profile).items()}
    return {problem.rule for problem in check_expression(text, names, profile)}


STRICT = [
    "$@bundle_root + '/models'",
    "$torch.device('cuda:' + os.environ['LOCAL_RANK'] if torch.cuda.is_available() else 'cpu')",
    "$[*@train#preprocessing.transforms[:3], @keep, *@train#preprocessing.transforms[3:6]]",
    "$dist.is_initialized() or dist.init_process_group(backend=@backend)",
    "$monai.handlers.from_engine(['pred', 'label'])",
    "$np.uint8",
    "$@validate#evaluator.run()",
    "$None",
    "$[x for x in @list]",
]
# the shapes that expressions have in bundles of MONAI's model zoo
DEFAULT = [
    "$list(sorted(glob.glob(@dataset_dir + '/imagesTr/*.nii.gz')))",
    "$[{'image': i, 'label': l} for i, l in zip(@images[:-9], @labels[:-9])]",
    "$[x.replace('.jpg', '_seg.jpg') for x in @images]",
    "$os.path.join(@dataset_dir, 'a')",
    "$monai.data.load_decathlon_datalist(@path, is_segmentation=True, data_list_key='testing')",
    "$lambda x: monai.handlers.from_engine(['loss'], first=True)(x)[0]",
    "$torch.device(f'cuda:{dist.get_rank()}')",
    "$@handlers[: -2 if dist.get_rank() > 0 else None]",
    "$@network.parameters()",
    "$@detector.set_box_selector_parameters(score_thresh=0.02)",
    "$setattr(torch.backends.cudnn, 'benchmark', True)",
    "$monai.networks.nets.resnet.resnet50(spatial_dims=3, n_input_channels=1)",
    "$monai.networks.layers.Norm.BATCH",
    "$torch.long",
    "$np.pi ** 2",
    "$partial(monai.inferers.sliding_window_inference, overlap=0.5)",
    "$max(1, len(@datalist))",
]
REFUSED = [
    ("$eval('1')", "expr.forbidden"),
    ("$ｅｖａｌ('1')", "expr.forbidden"),  # Python reads wide letters as plain ones
    ("$exec", "expr.forbidden"),
    ("$open('x').read()", "expr.forbidden"),
    ("$os.system('x')", "expr.forbidden"),
    ("$os.environ", "expr.forbidden"),
    ("$os.environ.get('HOME')", "expr.forbidden"),
    ("$os.environ[@name]", "expr.forbidden"),
    ("$glob.os.system('x')", "expr.forbidden"),
    ("$np.ctypeslib.ctypes.CDLL('x')", "expr.forbidden"),
    ("$torch.serialization.os.system('x')", "expr.forbidden"),
    ("$np.load('x', allow_pickle=True)", "expr.forbidden"),
    ("$map(torch.load, ['x'])", "expr.forbidden"),
    ("$torch.hub.load('a/b', 'c')", "download.target"),
    ("$monai.bundle.download('x')", "download.target"),
    ("$torch.ops.load_library('x.so')", "expr.forbidden"),
    ("$setattr(torch, 'load', 1)", "expr.forbidden"),
    ("$setattr(torch.backends.cudnn, '__class__', 1)", "expr.forbidden"),
    ("$torch", "expr.module"),
    ("$os", "expr.module"),
    ("$(lambda m: m.load('x'))(torch)", "expr.module"),
    ("$[m for m in [os]]", "expr.module"),
    ("$@x.__globals__", "expr.private"),
    ("$@x._private", "expr.private"),
    ("$(g for g in []).gi_frame.f_globals", "expr.private"),
    ("$@x.os.remove('y')", "expr.forbidden"),
    ("$@path.write_text('y')", "expr.forbidden"),
    ("$'{0.__init__.__globals__}'.format(@x)", "expr.format"),
    ("$str.format('{0.real}', 1)", "expr.attribute"),
    ('$f"{@x.__class__}"', "expr.private"),
    ("$(x := 5)", "expr.construct"),
    ("$[0 for @x.y in [1]]", "expr.construct"),
    ("$9**9**9", "expr.construct"),
    ("$'a' << 10", "expr.construct"),
    ("$a; b", "expr.syntax"),
    ("$1 +", "expr.syntax"),
    ("$'\x00'", "expr.syntax"),
    ("$" + "[" * 300 + "]" * 300, "expr.syntax"),
    ("$" + "+".join("1" * 3000), "expr.syntax"),
    ("$undefined", "expr.name"),
    ("$torch.cuda.is_avalable()", "expr.name"),
    ("$monai.transforms.LoadImaged(['image'], 'sub' + 'process.Popen')", "expr.forbidden"),
    ("$monai.networks.nets.resnet18(pretrained=True)", "download.argument"),
    ("$'https://example.org'", "url.component"),
    ("$'subprocess.Popen'", "value.forbidden-name"),
    ("$await_ and (yield)", "expr.construct"),
]


@pytest.mark.parametrize("text", STRICT)
@pytest.mark.parametrize("profile", ["strict", "default"])
def test_what_our_bundles_need_passes(text: str, profile: Profile) -> None:
    assert judge(text, profile) == set()


@pytest.mark.parametrize("text", DEFAULT)
def test_what_the_model_zoo_needs_passes_by_default_alone(text: str) -> None:
    assert judge(text, "default") == set()
    assert judge(text, "strict")


@pytest.mark.parametrize(("text", "rule"), REFUSED)
def test_dangers_are_refused(text: str, rule: str) -> None:
    assert rule in judge(text, "default")
    assert judge(text, "strict")


def test_a_name_that_may_be_two_modules_has_to_be_harmless_as_both() -> None:
    names = {"torch": frozenset({"torch", "glob"})}
    assert check_expression("$torch.device('cpu')", names, "default")


def test_an_import_elsewhere_cannot_make_a_dangerous_name_harmless(tmp_path: Path) -> None:
    """An import is seen in all files, but a run may not have it: then the name is Python's own."""
    evaluate = {"m": "$from monai.handlers import from_engine as eval", "n": "$import nothing_known as open"}
    bundle = write_bundle(tmp_path / "b", inference={"a": "$eval('1')", "b": "$open('x')"}, evaluate=evaluate)
    found = {(one.code, one.file, one.line) for one in lint_bundle(bundle)}
    assert ("expr.forbidden", "configs/inference.json", 2) in found
    assert ("expr.forbidden", "configs/inference.json", 3) in found


def test_the_strict_list_has_nothing_that_our_bundles_do_not_use(project: Path) -> None:
    text = "\n".join(path.read_text() for path in (project / "bundles").glob("*/configs/*.json"))
    for name in STRICT_VALUES:
        short = name.replace("torch.distributed", "dist").replace("numpy", "np")
        assert name in text or short in text, name
    for name in STRICT_ATTRIBUTES:
        assert f".{name}" in text, name


@pytest.mark.parametrize(
    ("text", "profile", "rule"),
    [
        ("import os", "strict", None),
        ("import torch.distributed as dist", "strict", None),
        ("import glob", "strict", "import.forbidden"),
        ("import glob", "default", None),
        ("from monai.handlers import from_engine", "strict", None),
        ("from torch import load", "default", "import.forbidden"),
        ("from os import system", "default", "import.forbidden"),
        ("from monai.utils import optional_import", "default", "import.forbidden"),
        ("import subprocess", "default", "import.forbidden"),
        ("import scripts", "default", "import.bundle-code"),
        ("from scripts.x import y", "default", "import.bundle-code"),
        ("from .x import y", "default", "import.bundle-code"),
        ("from torch import *", "default", "import.forbidden"),
        ("import torch.distributed", "default", "import.unbound"),
        ("import glob, os", "default", "import.unbound"),
    ],
)
def test_imports(text: str, profile: Profile, rule: str | None) -> None:
    statement = import_statement(text)
    assert statement is not None
    assert [problem.rule for problem in check_import(statement, profile)] == ([rule] if rule else [])


def test_imports_are_seen_as_monai_sees_them() -> None:
    assert import_statement("import os; os.system('x')") is not None  # the rest never runs
    assert import_statement("important") is None
    assert import_statement("1; import os") is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("Compose", None),
        ("LoadImaged", None),
        ("LoadImageDict", None),
        ("SupervisedTrainer", None),
        ("monai.transforms.Spacingd", None),
        ("monai.transforms.spatial.dictionary.Spacingd", None),
        ("monai.networks.nets.resnet50", None),
        ("torch.nn.CrossEntropyLoss", None),
        ("torch.optim.lr_scheduler.PolynomialLR", None),
        ("ignite.metrics.Accuracy", None),
        ("medtl_monai.io.reader.VolumeReader", None),
        ("medtl_monai.io.atomic.write", "target.not-allowed"),
        ("medtl_monai.cli.main", "target.forbidden"),
        ("medtl_monai.weights.commands.fetch", "download.target"),
        ("monai.transforms.croppad.Spacingd", "target.not-allowed"),
        ("monai.transforms.utils.np", "target.not-allowed"),
        ("monai.networks.nets.resnet.get_pretrained_resnet_medicalnet", "target.not-allowed"),
        ("PerceptualLoss", "download.target"),
        ("AutoRunner", "target.forbidden"),
        ("run_cmd", "target.forbidden"),
        ("optional_import", "target.forbidden"),
        ("NoSuchClass", "target.not-allowed"),
        ("torch.nn.functional.importlib", "target.forbidden"),
        ("torch.nn.functional.torch", "target.not-allowed"),
        ("torch.Tensor.__init_subclass__", "target.not-allowed"),
        ("torch.load", "target.forbidden"),
        ("numpy.load", "target.forbidden"),
        ("scripts.net.Net", "target.bundle-code"),
        ("somewhere.Net", "target.not-allowed"),
        ("os.system ", "target.forbidden"),
        ("", "target.not-allowed"),
    ],
)
def test_components(name: str, rule: str | None) -> None:
    problem = check_target(name)
    assert (problem.rule if problem else None) == rule


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("LoadImagd", "LoadImaged"),
        ("torch.optm.Adam", "torch.optim.Adam"),
        ("medtl_monai.networks.factory.build_netwrk", "medtl_monai.networks.factory.build_network"),
    ],
)
def test_a_misspelt_component_is_told_the_right_one(wrong: str, right: str) -> None:
    problem = check_target(wrong)
    assert problem is not None
    assert problem.remedy == f"did you mean {right}?"


def test_plain_names_mean_what_monai_finds_under_them() -> None:
    """All that MONAI finds outside the allowed rooms is refused, by MONAI's own table of names."""
    rooms = ("monai.bundle", "monai.utils", "monai.apps.auto3dseg", "monai.auto3dseg", "monai.fl", "monai.config")
    locator = ComponentLocator()
    locator.get_component_module_name("Compose")
    table = locator._components_table
    assert table is not None
    assert len(table) > 1500
    outside = [name for name, modules in table.items() if modules[0].startswith(rooms)]
    assert len(outside) > 100
    assert [name for name in outside if check_target(name) is None and name != "set_determinism"] == []
