"""The arithmetic behind the feature benchmarks: intervals, folds, interpolation, linear models."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("sklearn", reason="the feature benchmarks need scikit-learn")


@pytest.fixture(scope="module")
def probes(project: Path) -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project / "benchmarks"))
        from probes import adrenal, dense, estimates, head_ct, hippocampus, networks

        yield SimpleNamespace(
            adrenal=adrenal,
            dense=dense,
            estimates=estimates,
            head_ct=head_ct,
            hippocampus=hippocampus,
            networks=networks,
        )
        for name in [name for name in sys.modules if name.split(".")[0] == "probes"]:
            del sys.modules[name]


def test_corrected_interval_is_that_of_nadeau_and_bengio(probes: SimpleNamespace) -> None:
    values = [0.1, 0.3, -0.1, 0.2, 0.0, 0.1]
    found = probes.estimates.corrected_interval(values, seeds=3, test_per_train=0.5)
    variance = (1 / 6 + 0.5) * np.var(values, ddof=1)
    half = stats.t.ppf(0.975, 2) * np.sqrt(variance)
    assert found["low"] == pytest.approx(0.1 - half)
    assert found["high"] == pytest.approx(0.1 + half)
    assert found["p"] == pytest.approx(2 * stats.t.sf(0.1 / np.sqrt(variance), 2))


def test_t_interval_agrees_with_scipy(probes: SimpleNamespace) -> None:
    values = [0.2, 0.5, 0.1, 0.4]
    reference = stats.ttest_1samp(values, 0.0)
    limits = reference.confidence_interval(0.95)
    found = probes.estimates.t_interval(values)
    assert (found["low"], found["high"], found["p"]) == pytest.approx((limits.low, limits.high, reference.pvalue))


def test_one_seed_has_no_interval(probes: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="two seeds"):
        probes.estimates.corrected_interval([0.1, 0.2], seeds=1, test_per_train=0.25)


def test_corrected_interval_covers_where_the_plain_one_does_not(probes: SimpleNamespace) -> None:
    """Folds that share a common error, as folds of one data set do: 40 % of their variance is common."""
    rng = np.random.default_rng(0)
    covered = {"plain": 0, "corrected": 0}
    for _ in range(400):
        values = (np.sqrt(0.2) * rng.normal() + np.sqrt(0.8) * rng.normal(size=50)).tolist()
        for name, found in (
            ("plain", probes.estimates.t_interval(values)),
            ("corrected", probes.estimates.corrected_interval(values, seeds=10, test_per_train=0.25)),
        ):
            covered[name] += found["low"] <= 0 <= found["high"]
    assert covered["plain"] < 0.6 * 400
    assert covered["corrected"] > 0.93 * 400


def test_holm_of_the_textbook(probes: SimpleNamespace) -> None:
    found = probes.estimates.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


def test_pair_wins_are_the_auc(probes: SimpleNamespace) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 60), rng.integers(0, 9, 60).astype(float)
    assert probes.estimates.pair_wins(labels, scores).mean() == pytest.approx(roc_auc_score(labels, scores))


def test_bootstrap_auc_has_the_width_that_hanley_and_mcneil_give(probes: SimpleNamespace) -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([1, 0], (80, 120))
    wins = probes.estimates.pair_wins(labels, rng.normal(size=200) + labels)
    found = probes.estimates.bootstrap_auc(labels, np.stack([wins, wins]))
    auc = wins.mean()
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + 79 * (q1 - auc**2) + 119 * (q2 - auc**2)) / (80 * 120))
    assert found["mean"] == pytest.approx(auc)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_bootstrap_mean_takes_both_levels_into_account(probes: SimpleNamespace) -> None:
    rng = np.random.default_rng(3)
    seeds, cases = rng.normal(size=(30, 1)), 2 * rng.normal(size=(1, 50))
    found = probes.estimates.bootstrap_mean(seeds + cases)
    error = np.sqrt(seeds.var() / 30 + cases.var() / 50)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_head_ct_folds_keep_related_slices_together(probes: SimpleNamespace, real_data: Path) -> None:
    head_ct = probes.head_ct
    slices = head_ct.read_slices(real_data / "head_ct_hemorrhage")
    listed = [name for line in head_ct.RELATED for name in line.split()]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(slices.names)
    for seed in range(3):
        folds = head_ct.outer_folds(slices, seed, grouped=True)
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(slices.names)))
        for train, test in folds:
            assert not set(slices.groups[train]) & set(slices.groups[test])
            assert set(slices.labels[test]) == {0, 1}


def test_near_duplicates_are_found_and_all_inside_groups(probes: SimpleNamespace, real_data: Path) -> None:
    slices = probes.head_ct.read_slices(real_data / "head_ct_hemorrhage")
    pairs = probes.head_ct.near_duplicates(slices.images)
    names = {(slices.names[i], slices.names[j]) for i, j, _ in pairs}
    assert {("004", "057"), ("005", "058"), ("009", "065"), ("010", "066"), ("198", "199")} <= names
    assert all(slices.groups[i] == slices.groups[j] for i, j, _ in pairs)


def test_a_scaled_copy_is_a_near_duplicate(probes: SimpleNamespace) -> None:
    from PIL import Image

    rng = np.random.default_rng(4)
    noise = [rng.integers(60, 255, (12, 12), dtype=np.uint8) for _ in range(3)]
    images = [Image.fromarray(values).resize((120, 130)) for values in noise]
    larger = Image.new("L", (300, 300))
    larger.paste(images[1].resize((220, 240)), (40, 30))
    pairs = probes.head_ct.near_duplicates([*images, larger])
    assert [(i, j) for i, j, _ in pairs] == [(1, 3)]


def test_sampling_a_level_reproduces_a_ramp(probes: SimpleNamespace) -> None:
    """Feature voxels that hold their own position give every voxel its position, up to the outermost centres."""
    offset, stride, lengths = 3, 2, (15, 22, 16)
    axes = [offset + stride * torch.arange(length).float() for length in lengths]
    level = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    voxels = torch.tensor([[3, 3, 3], [4, 9, 20], [31, 45, 33], [0, 49, 6]])
    limits = torch.tensor([[axis[0] for axis in axes], [axis[-1] for axis in axes]])
    expected = torch.minimum(torch.maximum(voxels.float(), limits[0]), limits[1])
    torch.testing.assert_close(probes.dense.sample_level(level, voxels, (offset, stride)), expected, atol=1e-4, rtol=0)


def test_squeezenet_levels_lie_where_the_grids_say(probes: SimpleNamespace) -> None:
    """The input voxels that move a feature voxel are centred on its place (gradient of the first two levels)."""
    encoder = probes.networks.squeezenet(probes.networks.random_squeezenet_state(0), "mean")
    for index, at in ((0, 4), (1, 4)):
        volume = torch.rand(1, 1, 44, 44, 44, requires_grad=True)
        encoder(volume)[index][0, :, at, at, at].sum().backward()
        offset, stride = probes.hippocampus.SQUEEZENET_GRIDS[index]
        reached = torch.nonzero(volume.grad[0, 0]).float()
        centre = (reached.amin(0) + reached.amax(0)) / 2
        assert centre.tolist() == pytest.approx([offset + stride * at] * 3, abs=1.5)


def test_segmenting_by_levels_is_the_model_on_interpolated_features(probes: SimpleNamespace) -> None:
    dense = probes.dense
    generator = torch.Generator().manual_seed(5)
    shape, grids = (9, 11, 10), ((0, 1), (1, 2))
    levels = [torch.randn(4, *shape, generator=generator), torch.randn(3, 4, 5, 4, generator=generator)]
    voxels = dense.all_voxels(shape)
    features = torch.cat(
        [dense.sample_level(level, voxels, grid) for level, grid in zip(levels, grids, strict=True)], 1
    )
    classes = features[:, :3].argmax(1).numpy()
    shares = np.bincount(classes, minlength=3) / len(classes)
    model = dense.fit_linear(features.numpy(), classes, shares, 1.0).with_prior(1.0)
    expected = (features @ model.weight.T + model.bias).argmax(1).reshape(shape)
    found = model.segment(levels, grids, shape)
    assert np.mean(found == expected.numpy()) > 0.999
    assert np.mean(found.ravel() == classes) > 0.9


def test_prior_makes_a_balanced_sample_calibrated(probes: SimpleNamespace) -> None:
    """Two normal distributions of equal variance: the true boundary is known, x = 1/2 + ln(9) for 9 to 1."""
    rng = np.random.default_rng(6)
    features = np.concatenate([rng.normal(0, 1, 20000), rng.normal(1, 1, 20000)])[:, None]
    model = probes.dense.fit_linear(features, np.repeat([0, 1], 20000), np.array([0.9, 0.1]), 1e3)
    # scikit-learn has one row of weights for two classes: the score of class 1 over class 0
    difference = model.log_shares[1] - model.log_shares[0]
    assert float(-difference / model.weight[0, 0]) == pytest.approx(np.log(9), rel=0.05)


def test_drawn_cases_keep_the_classes_in_proportion(probes: SimpleNamespace) -> None:
    labels = np.repeat([0, 1], (929, 259))
    drawn = probes.adrenal.draw(labels, np.arange(1188), 50, seed=0)
    assert (len(set(drawn)), labels[drawn].sum()) == (50, 11)
    assert set(drawn) != set(probes.adrenal.draw(labels, np.arange(1188), 50, seed=1))
    assert len(probes.adrenal.draw(labels, np.arange(1188), 0, seed=0)) == 1188
