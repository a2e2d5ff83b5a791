"""The cache of features: what hits, what misses, and what a damaged file does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medtl_monai.errors import DataError, OutputError
from medtl_monai.networks.transfer_classifier import TransferClassifier
from medtl_monai.transfer.feature_cache import CachedFeatures, cached_features, network_key
from medtl_monai.transfer.features import FrozenFeatures, extract
from tests.networks.toy_encoder import ToyEncoder


def network(seed: int = 1) -> TransferClassifier:
    torch.manual_seed(seed)
    return TransferClassifier(ToyEncoder(2))


def cases(count: int = 3) -> list[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(f"case{index}", torch.rand(1, 16, 16, generator=generator)) for index in range(count)]


def again(folder: Path, **changes: object) -> CachedFeatures:
    return cached_features(folder, FrozenFeatures(network(), **changes), cases())


def test_second_time_from_disk_and_equal(tmp_path: Path) -> None:
    first = cached_features(tmp_path / "a" / "b", network(), cases())
    assert first.computed == first.cases == ("case0", "case1", "case2")
    np.testing.assert_allclose(first.features, extract(network(), [image[None] for _, image in cases()]), atol=1e-7)
    second = cached_features(tmp_path / "a" / "b", network(), [(f"new-{name}", image) for name, image in cases()])
    assert second.computed == second.damaged == ()  # names do not matter
    assert np.array_equal(first.features, second.features)
    assert first.features.dtype == np.float32


def test_changed_weights_miss(tmp_path: Path) -> None:
    again(tmp_path)
    changed = network()
    changed.encoder.levels[2][0].weight.data.view(-1)[0].add_(1e-6)
    assert len(cached_features(tmp_path, changed, cases()).computed) == 3
    changed = network()
    changed.encoder.levels[0][1].running_mean.add_(1e-6)  # a buffer, not a parameter
    assert len(cached_features(tmp_path, changed, cases()).computed) == 3
    changed = network()
    changed.class_head[1].weight.data.add_(1.0)  # penultimate features do not see the head
    assert cached_features(tmp_path, changed, cases()).computed == ()


def test_same_weights_in_other_layers_miss() -> None:
    torch.manual_seed(0)
    first = ToyEncoder(2, steps=(2, 2))
    second = ToyEncoder(2, steps=(2, 1))
    second.load_state_dict(first.state_dict())
    assert network_key(FrozenFeatures(first)) != network_key(FrozenFeatures(second))
    assert network_key(FrozenFeatures(first)) == network_key(FrozenFeatures(first.eval()))


def test_other_level_pool_or_backend_misses(tmp_path: Path) -> None:
    assert len(again(tmp_path).computed) == 3
    assert again(tmp_path, level=3).computed == ()  # the same level by its other number
    assert len(again(tmp_path, level=1).computed) == 3
    assert len(again(tmp_path, pool="max").computed) == 3
    assert len(again(tmp_path, backend="traced").computed) == 3


def test_changed_image_misses_alone(tmp_path: Path) -> None:
    again(tmp_path)
    changed = cases()
    changed[1][1][0, 7, 7] += 1e-6
    assert cached_features(tmp_path, network(), changed).computed == ("case1",)


def test_same_bytes_in_another_shape_miss(tmp_path: Path) -> None:
    image = cases()[0][1]
    cached_features(tmp_path, network(), [("a", image)])
    assert cached_features(tmp_path, network(), [("a", image.reshape(1, 8, 32))]).computed == ("a",)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other", "pickle"])
def test_damaged_file_is_recomputed_and_reported(tmp_path: Path, damage: str) -> None:
    whole = again(tmp_path)
    alone = cached_features(tmp_path / "alone", network(), cases()[:1])
    victim = tmp_path / next((tmp_path / "alone").iterdir()).name
    data = victim.read_bytes()
    victim.write_bytes(
        {
            "truncated": data[:-4],
            "flipped": data[:-1] + bytes([data[-1] ^ 1]),
            "empty": b"",
            "other": next(path for path in tmp_path.glob("*.features") if path != victim).read_bytes(),
            "pickle": data[:32] + b"cos\nsystem\n(S'exit 1'\ntR.",
        }[damage]
    )
    repaired = again(tmp_path)
    assert repaired.computed == repaired.damaged == alone.cases
    assert np.array_equal(repaired.features, whole.features)
    assert victim.read_bytes() == data
    assert again(tmp_path).damaged == ()


def test_all_bad_cases_at_once_and_good_ones_kept(tmp_path: Path) -> None:
    given = cases(4)
    given[1][1][0, 0, 0] = torch.nan
    given[2] = ("case2", torch.rand(2, 16, 16))
    given.append(given[0])
    with pytest.raises(DataError, match=r"case1: features are not finite.*case2: this image.*case0: named twice"):
        cached_features(tmp_path, network(), given)
    assert cached_features(tmp_path, network(), [given[0], given[3]]).computed == ()
    with pytest.raises(DataError, match="no cases"):
        cached_features(tmp_path, network(), [])


def test_unwritable_place_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        cached_features(tmp_path / "file", network(), cases())
    cached_features(tmp_path / "cache", network(), cases()[:1])
    stored = next((tmp_path / "cache").iterdir())
    stored.unlink()
    stored.mkdir()  # a folder in the file's place
    with pytest.raises(OutputError):
        cached_features(tmp_path / "cache", network(), cases()[:1])


def test_no_left_over_files(tmp_path: Path) -> None:
    again(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(len(path.stem) == 64 for path in tmp_path.iterdir())
