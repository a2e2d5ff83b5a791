"""MedicalNet's two preprocessings against independent numpy code, and their geometry."""

from __future__ import annotations

import pickle

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, Invertd
from scipy.ndimage import zoom

from medtl_monai.errors import ConfigError, IntensityError
from medtl_monai.transforms.medicalnet import medicalnet_demo, medicalnet_paper, normalise_as_demo
from medtl_monai.transforms.preprocessing import PREPROCESSING, preprocessing

LIA = np.array([[-1.5, 0, 0, 90], [0, 0, 1.2, -60], [0, -2.0, 0, 70], [0, 0, 0, 1.0]])


def head(seed: int = 0, affine: np.ndarray = LIA) -> MetaTensor:
    """A bright block with zeros inside, in a background of zeros."""
    rng = np.random.default_rng(seed)
    image = np.zeros((14, 12, 10), dtype=np.float32)
    image[3:11, 2:9, 1:8] = rng.lognormal(5, 0.6, (8, 7, 7))
    image[5:7, 4:6, 3:5] = 0
    return MetaTensor(torch.from_numpy(image)[None], affine=torch.from_numpy(affine), meta={"case": f"sub_{seed}"})


def label_of(seed: int = 0, affine: np.ndarray = LIA) -> MetaTensor:
    values = np.random.default_rng(seed).integers(0, 4, (1, 14, 12, 10)).astype(np.uint8)
    return MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(affine))


def cause(chain: list, image: MetaTensor) -> IntensityError:
    with pytest.raises(RuntimeError) as caught:
        Compose(chain)({"image": image})
    error = caught.value.__cause__
    assert isinstance(error, IntensityError)
    return error


def slices_first(image: MetaTensor) -> np.ndarray:
    """The LIA array (L, I, A) as (S, A, R), by hand: reverse L and I, then transpose."""
    return image[0].numpy()[::-1, ::-1, :].transpose(1, 2, 0)


def test_lia_becomes_sar_and_a_label_comes_back() -> None:
    assert nib.aff2axcodes(LIA) == ("L", "I", "A")
    chain = Compose(medicalnet_paper("image", label_keys="label"))
    image, label = head(), label_of()
    out = chain({"image": image, "label": label})
    for key, original in (("image", image), ("label", label)):
        assert nib.aff2axcodes(out[key].affine.numpy()) == ("S", "A", "R")
        assert tuple(out[key].shape) == (1, 12, 10, 14)
        assert np.allclose(nib.affines.voxel_sizes(out[key].affine.numpy()), (2.0, 1.2, 1.5)), original.shape
    assert np.array_equal(out["label"][0].numpy(), slices_first(label))
    prediction = {**out, "prediction": out["label"].clone()}
    for keys, like in (("label", "label"), ("prediction", "image")):
        back = Invertd(keys, chain, orig_keys=like, nearest_interp=True)(dict(prediction))[keys]
        assert torch.equal(back.as_tensor(), label.as_tensor().to(back.dtype))
        assert np.allclose(back.affine.numpy(), LIA)


def test_paper_intensities_by_formula() -> None:
    image = head()
    out = Compose(medicalnet_paper(["image"]))({"image": image})["image"][0].numpy()
    expected = slices_first(image).astype(np.float64)
    expected = expected.clip(*np.percentile(expected, [0.5, 99.5]))
    expected = (expected - expected.mean()) / expected.std()
    assert np.abs(out - expected).max() < 1e-5
    assert abs(out.mean()) < 1e-5
    assert abs(out.std() - 1) < 1e-5


def test_paper_spacing_runs_along_s_a_r() -> None:
    chain = Compose(medicalnet_paper("image", spacing=(2.75, 1.2, 0.75), label_keys=("label",)))
    out = chain({"image": head(), "label": label_of()})
    assert np.allclose(nib.affines.voxel_sizes(out["image"].affine.numpy()), (2.75, 1.2, 0.75))
    assert tuple(out["image"].shape) == tuple(out["label"].shape) == (1, 9, 10, 27)
    assert set(out["label"].unique().tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0)])
def test_paper_refuses_other_spacings(spacing: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="expected 3 positive lengths in mm"):
        medicalnet_paper("image", spacing)


def published_demo(volume: np.ndarray, size: tuple[int, int, int], crop: str) -> tuple[np.ndarray, np.ndarray]:
    """The published steps on a slices-first array: the normalised volume, and where it has noise instead."""
    where = np.argwhere(volume != volume[0, 0, 0])
    low, high = where.min(axis=0), where.max(axis=0) + (1 if crop == "exact" else 0)
    if crop != "none":
        volume = volume[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    volume = zoom(volume, [wanted / n for wanted, n in zip(size, volume.shape, strict=True)], order=0).astype(float)
    body = volume[volume > 0]
    return (volume - body.mean()) / body.std(), volume == 0


@pytest.mark.parametrize("crop", ["exact", "published", "none"])
def test_demo_is_the_published_code_but_for_the_noise(crop: str) -> None:
    image, size = head(), (9, 20, 17)
    out = Compose(medicalnet_demo("image", size, crop=crop))({"image": image})["image"][0].numpy()
    expected, noise = published_demo(slices_first(image), size, crop)
    assert 0 < noise.sum() < noise.size / 2 or crop == "none"
    assert np.abs(out - expected)[~noise].max() < 1e-4


def test_the_published_crop_loses_the_last_slices() -> None:
    image = MetaTensor(torch.zeros(1, 6, 6, 6), affine=torch.eye(4))
    image[0, 1:5, 1:5, 1:5] = torch.arange(1.0, 65.0).reshape(4, 4, 4)
    for crop, wanted in (("exact", 4), ("published", 3), ("none", 6)):
        chain = medicalnet_demo("image", (2, 2, 2), crop=crop)[:-2]  # before the zoom
        assert tuple(Compose(chain)({"image": image})["image"].shape) == (1, *[wanted] * 3)


def test_demo_size_and_labels() -> None:
    out = Compose(medicalnet_demo("image", label_keys="label"))({"image": head(), "label": label_of()})
    assert tuple(out["image"].shape) == tuple(out["label"].shape) == (1, 56, 448, 448)
    assert np.allclose(out["image"].affine, out["label"].affine)


def test_demo_label_comes_back() -> None:
    """The crop is filled with 0, everything inside it returns voxel for voxel."""
    chain = Compose(medicalnet_demo("image", (16, 18, 20), label_keys="label"))
    label = label_of()
    out = chain({"image": head(), "label": label})
    back = chain.inverse(out)["label"].as_tensor()
    expected = torch.zeros_like(label.as_tensor())
    expected[:, 3:11, 2:9, 1:8] = label.as_tensor()[:, 3:11, 2:9, 1:8]
    assert torch.equal(back.to(torch.uint8), expected)


def test_noise_repeats_for_a_case_and_differs_between_cases_and_seeds() -> None:
    image, other = head(0)[0:1], head(1)
    mask = (image == 0).as_tensor()
    once, again = normalise_as_demo(image, 0), normalise_as_demo(image.clone(), 0)
    torch.manual_seed(5)
    np.random.seed(5)
    assert torch.equal(once, again)
    assert torch.equal(once, normalise_as_demo(image, 0))
    for one in (normalise_as_demo(other, 0), normalise_as_demo(image, 1)):
        share = (one.as_tensor()[mask] == once.as_tensor()[mask]).float().mean()
        assert share < 0.01
    assert torch.equal(once.as_tensor()[~mask], normalise_as_demo(image, 1).as_tensor()[~mask])


def test_noise_is_standard_normal() -> None:
    image = torch.zeros(1, 40, 40, 40)
    image[:, :2] = torch.rand(1, 2, 40, 40) + 1
    noise = normalise_as_demo(image, 3)[:, 2:].flatten()
    assert abs(float(noise.mean())) < 4 / len(noise) ** 0.5
    assert abs(float(noise.std()) - 1) < 4 / (2 * len(noise)) ** 0.5
    assert abs(float((noise.abs() < 1).float().mean()) - 0.6827) < 0.01


def test_each_channel_has_its_own_mean() -> None:
    image = torch.rand(2, 5, 5, 5) + torch.tensor([1.0, 100.0]).reshape(2, 1, 1, 1)
    before = image.clone()
    out = normalise_as_demo(image, 0).flatten(1)
    assert out.mean(1).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert out.std(1, unbiased=False).tolist() == pytest.approx([1, 1], abs=1e-4)
    assert torch.equal(image, before)


def test_ct_in_hu_is_refused_by_the_demo() -> None:
    error = cause(medicalnet_demo("image"), head() - 1000)
    assert "case sub_0" in str(error)
    assert "expected values >= 0, got values down to -1000" in str(error)
    assert "medicalnet_paper" in str(error)


def test_images_without_foreground_are_refused() -> None:
    constant = MetaTensor(torch.full((1, 5, 5, 5), 7.0), meta={"case": "sub_9"})
    assert "case sub_9: a constant image" in str(cause(medicalnet_demo("image"), constant))
    thin = MetaTensor(torch.zeros(1, 5, 5, 5))
    thin[0, 2, 1:3, 1:4] = 5
    assert "got 3 x 2 x 1" in str(cause(medicalnet_demo("image", crop="published"), thin))
    assert "all 5" in str(cause(medicalnet_demo("image", (2, 2, 2)), thin))
    dark = MetaTensor(torch.zeros(1, 3, 3, 3))
    assert "0 voxels above 0" in str(cause(medicalnet_demo("image", crop="none"), dark))


def test_by_name_with_options() -> None:
    assert set(PREPROCESSING) == {"imagenet", "medicalnet_paper", "medicalnet_demo", "zscore", "unit"}
    image = head()
    for name, options in (
        ("medicalnet_paper", {"spacing": (2.0, 2.0, 2.0)}),
        ("medicalnet_demo", {"size": (8, 9, 10), "seed": 3, "crop": "none"}),
    ):
        one = Compose(preprocessing(name, "image", options))({"image": image})["image"]
        other = Compose(PREPROCESSING[name]("image", **options))({"image": image})["image"]
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("medicalnet", {}, r"unknown preprocessing.*did you mean 'medicalnet_\w+'\?"),
        ("medicalnet_paper", {"spacings": 1}, r"unknown option of preprocessing .*did you mean 'spacing'\?"),
        ("medicalnet_demo", {"crop": "exakt"}, r"unknown kind of crop.*did you mean 'exact'\?"),
        ("unit", {"seed": 1}, r"preprocessing 'unit' has no options; got seed"),
    ],
)
def test_wrong_names_and_options(name: str, options: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        preprocessing(name, "image", options)


@pytest.mark.parametrize("name", sorted(PREPROCESSING))
def test_in_a_cache_and_pickled(name: str) -> None:
    options = {"size": (8, 8, 8)} if name == "medicalnet_demo" else {}
    chain = pickle.loads(pickle.dumps(Compose(preprocessing(name, "image", options))))
    files = [{"image": head(0)}, {"image": head(1)}]
    cache = CacheDataset(files, chain, num_workers=0, progress=False)
    for index, item in enumerate(files):
        assert torch.equal(cache[index]["image"], Compose(preprocessing(name, "image", options))(dict(item))["image"])
    assert not torch.equal(cache[0]["image"], cache[1]["image"])
