"""Classical classifiers as heads: the network says what scikit-learn says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from test_probing import CE, maps, pictures, voxel_loss
from torch import nn

from medtl_monai.errors import ConfigError, DataError
from medtl_monai.networks.factory import build_network
from medtl_monai.transfer import feature_classifier
from medtl_monai.transfer.examples import Example
from medtl_monai.transfer.feature_classifier import fit_features_logistic, fit_features_svm
from medtl_monai.transfer.strategy import build_optimizer


def strength_of(method: str) -> float:
    return float(method.rpartition(" ")[2])


def dice_of(network: torch.nn.Module, examples: list[Example]) -> float:
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(one.image).argmax(1).flatten() for one in examples])
    true = torch.cat([one.label.flatten() for one in examples])
    return float(2 * (found * true).sum() / (found.sum() + true.sum()))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_a_classifier_says_what_scikit_learn_says(kind: str, classes: int) -> None:
    examples = [
        Example(one.case, one.patient, one.image + 0.2 * (index % classes), torch.tensor([index % classes]))
        for index, one in enumerate(pictures(15))
    ]
    network = build_network("classifier_squeezenet1_0", out_channels=classes).eval()
    with torch.no_grad():
        features = torch.cat([network.task_input(one.image)[0] for one in examples]).numpy()
    labels = np.array([int(one.label) for one in examples])
    fit = fit_features_logistic if kind == "logistic" else fit_features_svm
    fitted = fit(network, examples, CE)
    scaler = StandardScaler().fit(features.astype(np.float64))
    strength = strength_of(fitted.method)
    model = (
        LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
        if kind == "logistic"
        else LinearSVC(C=strength, class_weight="balanced", dual="auto", max_iter=2000)
    ).fit(scaler.transform(features), labels)
    with torch.no_grad():
        logits = torch.cat([network.eval()(one.image) for one in examples])
    if kind == "logistic":
        np.testing.assert_allclose(
            logits.softmax(1).numpy(), model.predict_proba(scaler.transform(features)), atol=2e-3
        )
    decision = model.decision_function(scaler.transform(features))
    found = logits.numpy() if classes > 2 else (logits[:, 1] - logits[:, 0]).numpy()
    np.testing.assert_allclose(found, decision, atol=5e-3 * np.abs(decision).max())


def faint(count: int = 4) -> list[Example]:
    """A small ball in strong noise: told the ball's true rarity, a classifier of voxels would see nothing but noise."""
    generator = torch.Generator().manual_seed(3)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, 16)] * 3, indexing="ij")
    label = (sum(axis.square() for axis in axes) < 0.15).float()[None, None]
    noisy = [label + torch.randn(label.shape, generator=generator) for _ in range(count)]
    return [Example(f"f{index}", f"f{index}", image, label) for index, image in enumerate(noisy)]


@pytest.mark.parametrize("name", ["highres3dnet", "dense_medicalnet_resnet10"])
def test_a_clear_object_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_classifier, "VOXELS", 800)
    examples = maps(4)
    network = build_network(name, out_channels=2)
    fitted = fit_features_logistic(network, examples, voxel_loss)
    assert dice_of(network, examples) > 0.8
    assert fitted.loss < 0.5 * fitted.loss_before


def test_a_faint_object_is_not_given_up_for_its_rarity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of rarity is chosen by Dice: at least as good as told all of it, or nothing."""
    monkeypatch.setattr(feature_classifier, "VOXELS", 800)
    reached = {}
    for priors in (feature_classifier.PRIORS, (0.0,), (1.0,)):
        monkeypatch.setattr(feature_classifier, "PRIORS", priors)
        network = build_network("highres3dnet", out_channels=2)
        fit_features_logistic(network, faint(), voxel_loss)
        reached[priors] = dice_of(network, faint())
    best, nothing, everything = reached.values()
    assert best > 0.3
    assert best >= max(nothing, everything) - 0.02
    assert best > min(nothing, everything) + 0.05


def test_only_the_head_changes() -> None:
    network = build_network("classifier_squeezenet1_0", out_channels=2)
    build_optimizer(network, strategy="features_svm", lr=1.0)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    fit_features_svm(network, pictures(), CE)
    moved = {key.split(".")[0] for key, tensor in network.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved == {"class_head"}


def test_a_decoder_is_refused_with_the_network_that_fits() -> None:
    with pytest.raises(
        ConfigError, match=r"'unet_squeezenet1_0' does not end in one linear layer.*dense_squeezenet1_0"
    ):
        build_optimizer(build_network("unet_squeezenet1_0"), strategy="features_logistic", lr=1.0)


def test_a_class_that_no_case_shows_and_too_few_patients() -> None:
    network = build_network("classifier_squeezenet1_0", out_channels=3)
    with pytest.raises(DataError, match="expected classes 0 to 2, got 0, 1"):
        fit_features_logistic(network, pictures(), nn.CrossEntropyLoss())
    network = build_network("classifier_squeezenet1_0", out_channels=2)
    with pytest.raises(DataError, match="too few patients"):
        fit_features_logistic(network, pictures(2), CE)
