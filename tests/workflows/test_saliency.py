"""Grad-CAM pictures: the numbers by brute force and by MONAI alone, a network left as it was, files whole or absent."""

from __future__ import annotations

import copy
import gc
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.networks import nets
from monai.transforms import Activationsd, Compose
from monai.visualize import GradCAM
from torch import nn

from medtl_monai.errors import ConfigError, DataError, OutputError
from medtl_monai.networks.encoder import Encoder
from medtl_monai.networks.factory import build_network
from medtl_monai.networks.staged import StagedNetwork
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.workflows.grad_cam import FeatureMap, find_feature_map, grad_cam
from medtl_monai.workflows.saliency import SaliencyPictures

NAMES = {"0": "normal", "1": "haemorrhage"}
AFFINE = np.array([[0, -2, 0, 10], [1.5, 0, 0, -4], [0, 0, 3, 7], [0, 0, 0, 1.0]])  # axes turned, unequal voxels


class TwoLevels(Encoder):
    """Two convolutions of stride 2 with activations that work in place."""

    def __init__(self, spatial_dims: int = 2) -> None:
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        self.architecture, self.spatial_dims, self.in_channels = "two", spatial_dims, 1
        self.channels, self.strides = (3, 5), ((2,) * spatial_dims, (4,) * spatial_dims)
        self.first = nn.Sequential(convolution(1, 3, 3, 2, 1), nn.ReLU(inplace=True))
        self.second = nn.Sequential(convolution(3, 5, 3, 2, 1), nn.ReLU(inplace=True))
        self.stages = {"first": ("first",), "second": ("second",)}

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        level = self.first(image)
        return [level, self.second(level)]


class OneMap(StagedNetwork):
    """Any body, the mean over space, and a linear head."""

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.class_head = body, head
        self.stages = {"body": ("body",), "head": ("class_head",)}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.class_head(self.body(image).flatten(2).mean(dim=2))


def curved(spatial_dims: int = 2) -> TransferClassifier:
    """A classifier whose head is not linear, in double precision: gradients differ from image to image."""
    torch.manual_seed(3)
    head = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    return TransferClassifier(TwoLevels(spatial_dims), 3, head).double().eval()


def scaled(heat: torch.Tensor) -> torch.Tensor:
    largest = heat.flatten(1).amax(dim=1).reshape(-1, *[1] * (heat.dim() - 1))
    return heat / torch.where(largest == 0, 1.0, largest)


def by_differences(network: TransferClassifier, image: torch.Tensor, wanted: int) -> torch.Tensor:
    """Grad-CAM of one image ``(1, 1, H, W)`` from its definition; the gradient by central differences."""
    with torch.no_grad():
        maps, step = network.encoder(image)[-1], 1e-6

        def score(change: torch.Tensor) -> float:
            return float(network.class_head((maps + change).flatten(2).mean(dim=2))[0, wanted])

        gradient = torch.zeros_like(maps)
        for index in np.ndindex(*maps.shape):
            change = torch.zeros_like(maps)
            change[index] = step
            gradient[index] = (score(change) - score(-change)) / (2 * step)
        weights = gradient.flatten(2).mean(dim=2)
        heat = torch.relu((weights[:, :, None, None] * maps).sum(dim=1, keepdim=True))
        return F.interpolate(heat, size=image.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def images(count: int, size: tuple[int, ...], channels: int = 1) -> torch.Tensor:
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_batch_gives_what_the_definition_and_what_monai_give_image_by_image() -> None:
    network, image, classes = curved(), images(4, (16, 20)), [0, 2, 1, 2]
    heat = grad_cam(network, image, classes)
    assert heat.shape == (4, 16, 20)
    assert heat.dtype == torch.float32
    for number, wanted in enumerate(classes):
        one = image[number : number + 1]
        torch.testing.assert_close(heat[number : number + 1].double(), scaled(by_differences(network, one, wanted)))
        # Not at the activation in place, whose output MONAI cannot hook, and with its inverting default off.
        other = copy.deepcopy(network)
        other.encoder.second[1] = nn.ReLU()
        alone = GradCAM(other, "encoder.second", postprocessing=lambda heat: heat)(one, class_idx=wanted)[:, 0]
        torch.testing.assert_close(heat[number : number + 1].double(), scaled(alone.detach()))
    assert (heat.flatten(1).amax(dim=1) > 0).sum() >= 3  # the comparison is not one of zeros


def test_padding_inside_the_network_does_not_move_the_heat() -> None:
    network = curved()
    network.multiple = [16, 16]
    image = images(1, (17, 20))
    padded = F.pad(image, (0, 12, 0, 15), mode="replicate")
    expected = by_differences(network, padded, 1)[:, :17, :20]
    torch.testing.assert_close(grad_cam(network, image, [1]).double(), scaled(expected))


def spot_network(spatial_dims: int) -> OneMap:
    """Class 1 gains from bright voxels, class 0 from dark ones; the map is the image in blocks of 2."""
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
    body = nn.Sequential(kind(1, 2, 2, 2, bias=False), nn.ReLU(inplace=True))
    head = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        body[0].weight[0], body[0].weight[1] = 1.0, -1.0
        head.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    return OneMap(body, head).eval()


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_heat_is_where_the_bright_spot_was_planted_and_flips_with_it(spatial_dims: int) -> None:
    network, image = spot_network(spatial_dims), torch.zeros(2, 1, *(16,) * spatial_dims)
    image[0, 0, 4:6, 10:12] = 1.0
    image[1, 0, 12:14, 2:4] = -1.0
    heat = grad_cam(network, image, [1, 0])
    for item, corner in zip(heat, ((4, 10), (12, 2)), strict=True):
        hot = np.argwhere(item.numpy() >= 0.99)
        for axis, start in enumerate(corner):
            assert hot[:, axis].min() == start
            assert hot[:, axis].max() == start + 1
    axes = list(range(1, spatial_dims + 1))
    flipped = grad_cam(network, image.flip([axis + 1 for axis in axes]), [1, 0])
    torch.testing.assert_close(flipped, heat.flip(axes))
    assert not grad_cam(network, image, [0, 1]).any()  # nothing speaks for the other class


FAMILIES: dict[str, tuple[int, ...]] = {  # sizes at which the deepest map has 4 voxels along an axis
    "vit_b_16": (64, 64),
    "squeezenet1_0": (80, 80),
    **dict.fromkeys(("resnet18", "efficientnet_b0", "mobilenet_v3_large", "densenet121"), (128, 128)),
    **dict.fromkeys(("convnext_tiny", "vgg16_bn", "swin_t"), (128, 128)),
    "medicalnet_resnet10": (32, 32, 32),
    "highres3dnet": (16, 16, 16),
    "resnet18_acs": (128, 128, 2),
    "swin_t_i3d": (128, 128, 2),
}


@pytest.mark.parametrize("encoder", FAMILIES)
def test_every_family_of_encoders_gives_what_a_linear_head_on_a_mean_has_as_class_activation(encoder: str) -> None:
    with torch.random.fork_rng(devices=[]):
        network = build_network(f"classifier_{encoder}").eval()
    image = images(2, FAMILIES[encoder]).float()
    heat = grad_cam(network, image, [0, 1])
    with torch.no_grad():
        deepest = network.encoder(image)[-1]
        activation = torch.einsum("bc,bc...->b...", network.class_head[1].weight, deepest).relu()
        mode = "bilinear" if image.dim() == 4 else "trilinear"
        expected = F.interpolate(activation[:, None], size=image.shape[2:], mode=mode, align_corners=False)[:, 0]
    assert heat.any()
    torch.testing.assert_close(heat, scaled(expected), rtol=1e-3, atol=1e-4)


def test_too_small_a_deepest_map_gives_way_to_the_level_before() -> None:
    network = build_network("classifier_squeezenet1_0_i3d").eval()
    image = images(1, (28, 28, 28)).float()
    assert tuple(network.encoder(image)[-1].shape[2:]) == (1, 1, 28)
    place = find_feature_map(network, image)
    assert place == FeatureMap("encoder.features.5", None, (5, 5, 28))  # torchvision's fourth fire module
    heat = grad_cam(network, image, [0], place) + grad_cam(network, image, [1], place)
    assert heat.any()


def test_the_map_of_a_network_of_monai_is_the_last_before_its_pool() -> None:
    class Monai(StagedNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.DenseNet(2, 1, 2, init_features=4, growth_rate=4, block_config=(2, 2))
            self.stages = {"features": ("net.features",), "head": ("net.class_layers.out",)}

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.net(image)

    torch.manual_seed(0)
    network, image = Monai().eval(), images(2, (64, 64)).float()
    place = find_feature_map(network, image)
    assert place == FeatureMap("net.class_layers.relu", None, (8, 8))
    heat = grad_cam(network, image, [0, 1])
    assert heat.any()
    torch.testing.assert_close(
        grad_cam(network.net, image, [0, 1], FeatureMap("class_layers.relu", None, (8, 8))), heat
    )


def test_networks_that_cannot_be_explained_are_refused_with_those_that_can() -> None:
    image = torch.zeros(1, 1, 16, 16)
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="classifier_<encoder>"):
        find_feature_map(plain, image)
    assert find_feature_map(plain, image, "0") == FeatureMap("0", None, (14, 14))
    for layer in ("1", "3"):  # pooled, and no map at all
        with pytest.raises(ConfigError, match="no feature map"):
            find_feature_map(plain, image, layer)
    with pytest.raises(ConfigError, match="unknown layer"):
        find_feature_map(plain, image, "conv")
    with pytest.raises(ConfigError, match="enlarge the images"):
        find_feature_map(build_network("classifier_swin_t"), torch.zeros(1, 1, 64, 64))
    with pytest.raises(ConfigError, match="explains classes"):
        find_feature_map(build_network("unet"), torch.zeros(1, 1, 16, 16, 16))
    shared = nn.ReLU()
    twice = nn.Sequential(nn.Conv2d(1, 2, 3), shared, nn.Conv2d(2, 2, 3), shared, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ConfigError, match="no feature map"):
        find_feature_map(twice, image, "1")  # two maps have this name


def traces(network: nn.Module) -> list[object]:
    """Everything that an explanation could leave behind, apart from the tensors."""
    hooks = [[*m._forward_hooks, *m._forward_pre_hooks, *m._backward_hooks] for m in network.modules()]
    modes = [(m.training, getattr(m, "inplace", None)) for m in network.modules()]
    return [hooks, modes, [p.requires_grad for p in network.parameters()]]


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    network = OneMap(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)), nn.Linear(4, 2))
    network.freeze(["head"])
    network.train(training)
    network.body[0].weight.grad = torch.ones_like(network.body[0].weight)
    before, state, random = traces(network), copy.deepcopy(network.state_dict()), torch.get_rng_state()
    parameters = [id(parameter) for parameter in network.parameters()]
    with torch.no_grad():
        heat = grad_cam(network, images(3, (16, 16)).float(), [0, 1, 0])
    assert not heat.requires_grad
    assert traces(network) == before
    assert [id(parameter) for parameter in network.parameters()] == parameters
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    gradients = [parameter.grad for parameter in network.parameters()]
    assert torch.equal(gradients[0], torch.ones_like(gradients[0]))
    assert gradients[1:] == [None] * (len(gradients) - 1)
    assert torch.equal(torch.get_rng_state(), random)


def evaluate(network: nn.Module, items: list[dict[str, object]], *handlers: SaliencyPictures) -> torch.Tensor:
    """Probabilities of all items from a real evaluator, in batches of 2."""
    outputs: list[torch.Tensor] = []
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(Dataset(items), batch_size=2),
        network,
        postprocessing=Compose([Activationsd("pred", softmax=True)]),
        val_handlers=list(handlers),
    )
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: outputs.extend(torch.as_tensor(o["pred"]) for o in engine.state.output),
    )
    evaluator.run()
    return torch.stack(outputs)


def items(spatial_dims: int = 3, count: int = 3) -> list[dict[str, object]]:
    size = (16, 20, 24)[:spatial_dims]
    volumes = images(count, size).float()
    return [{"image": MetaTensor(volume, affine=AFFINE), "case": f"c{n}.v1"} for n, volume in enumerate(volumes)]


def test_files_of_volumes_and_untouched_predictions(tmp_path: Path) -> None:
    network = curved(3).float()
    names = {"0": "a", "1": "b", "2": "c"}
    bare = evaluate(network, items())
    handler = SaliencyPictures(network, str(tmp_path / "new" / "saliency"), names, enabled="true")
    assert torch.equal(evaluate(network, items(), handler), bare)
    folder = tmp_path / "new" / "saliency"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"c{n}.v1.{s}" for n in range(3) for s in ("nii.gz", "png")
    ]
    expected = grad_cam(network, torch.stack([item["image"] for item in items()]), bare.argmax(dim=1).tolist())
    for number in range(3):
        saved = nib.load(folder / f"c{number}.v1.nii.gz")
        np.testing.assert_allclose(saved.affine, AFFINE)
        assert saved.get_data_dtype() == np.float32
        # Batches of another size: sums in another order.
        np.testing.assert_allclose(np.asarray(saved.dataobj), expected[number].numpy(), rtol=1e-4, atol=1e-6)
        assert (folder / f"c{number}.v1.png").read_bytes().startswith(b"\x89PNG")
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(evaluate(network, items(), handler), bare)  # a second run starts anew


@pytest.mark.parametrize("wanted", [1, "1", "haemorrhage"])
def test_a_slice_shows_the_class_that_is_asked_for(tmp_path: Path, wanted: int | str) -> None:
    network = spot_network(2)
    handler = SaliencyPictures(network, str(tmp_path), NAMES, enabled=True, target_class=wanted)
    dark = {"image": MetaTensor(-torch.ones(1, 16, 16)), "case": "dark"}
    evaluate(network, [dark], handler)
    assert [path.name for path in tmp_path.iterdir()] == ["dark.png"]
    place = FeatureMap("body", None, (8, 8))
    caption = handler._caption((0.75, 0.25), handler.target, np.zeros((2, 2)), place)
    assert caption.startswith("haemorrhage: probability 0.250 (predicted is normal)")
    assert "nothing in the map speaks for this class" in caption


def test_disabled_means_nothing_at_all(tmp_path: Path) -> None:
    for enabled in (False, "False"):
        network = nn.Sequential(nn.Flatten(), nn.Linear(16 * 20, 2))  # could not be explained
        evaluate(network, items(2), SaliencyPictures(network, str(tmp_path / "none"), NAMES, enabled=enabled))
    assert list(tmp_path.iterdir()) == []


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    network = spot_network(2)
    with pytest.raises(ConfigError, match="'haemorrhage'"):
        SaliencyPictures(network, str(tmp_path), NAMES, enabled=True, target_class="hemorrhage")
    with pytest.raises(ConfigError, match="'explain'"):
        SaliencyPictures(network, str(tmp_path), NAMES, enabled="yes")
    with pytest.raises(ConfigError, match="layer"):
        SaliencyPictures(nn.Sequential(nn.Linear(2, 2)), str(tmp_path), NAMES, enabled=True)
    with pytest.raises(ConfigError, match="did you mean 'body'"):
        SaliencyPictures(network, str(tmp_path), NAMES, enabled=True, layer="boddy")


def test_names_that_would_overwrite_or_leave_the_folder(tmp_path: Path) -> None:
    network = spot_network(2)
    for names, match in ((("a", "a"), "second case"), (("../a", "b"), "'../a'"), (("", "b"), "got ''")):
        cases = [{**item, "case": name} for item, name in zip(items(2, 2), names, strict=True)]
        with pytest.raises(OutputError, match=match):
            evaluate(network, cases, SaliencyPictures(network, str(tmp_path / "s"), NAMES, enabled=True))
    assert list((tmp_path / "s").iterdir()) == []


def test_heat_that_is_not_finite(tmp_path: Path) -> None:
    network = spot_network(2)
    network.class_head.weight.data[1, 0] = torch.inf
    handler = SaliencyPictures(network, str(tmp_path), NAMES, enabled=True)
    broken = {"image": MetaTensor(-torch.ones(1, 16, 16)), "case": "x"}
    with pytest.raises(DataError, match="case x"):
        evaluate(network, [broken], handler)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    network = spot_network(2)
    with pytest.raises(OutputError, match="folder of the saliency pictures"):
        evaluate(network, items(2), SaliencyPictures(network, str(tmp_path / "file" / "s"), NAMES, enabled=True))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_full_disk_leaves_no_half_files(tiny_disk: Path, spatial_dims: int, caplog: pytest.LogCaptureFixture) -> None:
    network = spot_network(spatial_dims)
    handler = SaliencyPictures(network, str(tiny_disk / "s"), NAMES, enabled=True)
    (tiny_disk / "s").mkdir()
    (tiny_disk / "filler").write_bytes(bytes(shutil.disk_usage(tiny_disk).free))
    with pytest.raises(OutputError, match="ENOSPC"):
        evaluate(network, items(spatial_dims), handler)
    assert list((tiny_disk / "s").iterdir()) == []
    caplog.clear()  # the engine's records hold the error, and with it the file that nibabel had open
    gc.collect()
