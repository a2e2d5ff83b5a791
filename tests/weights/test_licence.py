"""Licences follow weights: through fine-tuning, bundles and copies, whatever is unknown counts as forbidden."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from medtl_monai.errors import OutputError, WeightsError
from medtl_monai.weights.licence import (
    Lineage,
    check_commercial,
    lineage_of_file,
    lineage_of_row,
    record_lineage,
    write_lineage,
)
from medtl_monai.weights.registry import REGISTRY, pretrained

FREE = lineage_of_row(pretrained("imagenet_resnet18"), "f37072fd" + "0" * 56)
SWAG = lineage_of_row(pretrained("imagenet_vit_b_16_swag"))


def bundle(folder: Path, **metadata: object) -> Path:
    """A bundle folder with a weights file and this metadata; returns the weights file."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.0", **metadata}))
    (folder / "models" / "model.pt").write_bytes(b"weights")
    return folder / "models" / "model.pt"


def test_lineage_of_a_row() -> None:
    row = pretrained("imagenet_resnet18")
    assert FREE.as_dict() == {
        "source": "imagenet_resnet18",
        "licence": "BSD-3-Clause",
        "commercial_use": True,
        "citation": row.citation,
        "url": row.url,
        "sha256": "f37072fd" + "0" * 56,
        "training_data": row.training_data,
    }
    assert SWAG.sha256 == pretrained("imagenet_vit_b_16_swag").sha256, "what the registry knows"


def test_the_gate_over_the_whole_registry() -> None:
    refused = set()
    for row in REGISTRY.values():
        try:
            check_commercial([lineage_of_row(row)], True)
        except WeightsError:
            refused.add(row.name)
    assert refused == {"imagenet_vit_b_16_swag"}


def test_all_offenders_are_named_at_once(tmp_path: Path) -> None:
    odd = Lineage("odd.pt", licence="LicenseRef-odd", commercial_use=None)
    unlicensed = Lineage("unlicensed.pt", licence=None, commercial_use=True)
    chain = [SWAG, FREE, *lineage_of_file(tmp_path / "mine.pt"), odd, unlicensed]
    check_commercial(chain, False)
    check_commercial([FREE], True)
    check_commercial([], True)
    with pytest.raises(WeightsError) as caught:
        check_commercial(chain, True)
    assert caught.value.got == (
        "imagenet_vit_b_16_swag (CC-BY-NC-4.0, non-commercial only); mine.pt (licence unknown); "
        "odd.pt (LicenseRef-odd, not known to allow it); unlicensed.pt (licence unknown)"
    )
    assert "medtl weights list --commercial" in str(caught.value)


def test_a_model_fine_tuned_from_a_non_commercial_source_stays_non_commercial(tmp_path: Path) -> None:
    """Source -> model A -> bundle of A -> model B, each link by the record that the one before left."""
    first = tmp_path / "a.pt"
    write_lineage(first, [SWAG])
    packed = bundle(tmp_path / "bundle", weights_lineage=[entry.as_dict() for entry in lineage_of_file(first)])
    second = tmp_path / "b.pt"
    write_lineage(second, [*lineage_of_file(packed), FREE])
    assert lineage_of_file(second) == (SWAG, FREE), "oldest first"
    with pytest.raises(WeightsError, match=r"got imagenet_vit_b_16_swag \(CC-BY-NC-4.0"):
        check_commercial(lineage_of_file(second), True)


def test_a_bundle_and_a_sidecar_are_both_heard(tmp_path: Path) -> None:
    model = bundle(tmp_path / "bundle", weights_lineage=[FREE.as_dict()])
    assert lineage_of_file(model) == (FREE,)
    write_lineage(model, [SWAG, FREE])
    assert lineage_of_file(model) == (FREE, SWAG), "the bundle first; neither takes anything away, nothing counts twice"


def test_a_relative_path_finds_its_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bundle(tmp_path / "bundle", weights_lineage=[SWAG.as_dict()])
    monkeypatch.chdir(model.parent)
    assert lineage_of_file("model.pt") == (SWAG,)


def test_nothing_known_is_not_nothing_used(tmp_path: Path) -> None:
    unknown = (Lineage("model.pt", licence=None, commercial_use=None),)
    assert lineage_of_file(bundle(tmp_path / "silent")) == unknown
    elsewhere = bundle(tmp_path / "other", weights_lineage=[FREE.as_dict()]).parents[1] / "model.pt"
    assert lineage_of_file(elsewhere) == unknown, "not in models/"
    assert lineage_of_file(bundle(tmp_path / "scratch", weights_lineage=[])) == ()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"weights_lineage": {}}',
        '{"weights_lineage": ["imagenet_resnet18"]}',
        '{"weights_lineage": [{"source": "x", "licence": "MIT"}]}',
        json.dumps({"weights_lineage": [{**FREE.as_dict(), "commercial_use": "no"}]}),
        json.dumps({"weights_lineage": [{**FREE.as_dict(), "licence": 3}]}),
        json.dumps({"weights_lineage": [{**FREE.as_dict(), "source": None}]}),
        json.dumps({"weights_lineage": [{**FREE.as_dict(), "licenses": "GPL"}]}),
        "\udcff",
    ],
)
def test_a_record_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.pt.lineage.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(WeightsError, match=r"record of where weights come from cannot be read; .*m.pt.lineage.json"):
        lineage_of_file(tmp_path / "m.pt")


def test_a_record_is_written_whole_beside_the_file(tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    model.write_bytes(b"weights")
    written = write_lineage(model, [SWAG])
    assert written == tmp_path / "model.pt.lineage.json"
    assert json.loads(written.read_text()) == {"weights_lineage": [SWAG.as_dict()]}
    assert write_lineage(str(model), [replace(SWAG, source="again")]) == written
    assert lineage_of_file(model)[0].source == "again"
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "model.pt.lineage.json"]
    with pytest.raises(OutputError):
        write_lineage(tmp_path / "absent" / "model.pt", [SWAG])


def test_the_bundle_that_holds_the_file_says_so_too(tmp_path: Path) -> None:
    model, metadata = tmp_path / "models" / "model.pt", tmp_path / "configs" / "metadata.json"
    model.parent.mkdir()
    metadata.parent.mkdir()
    metadata.write_text('{"version": "1.0", "weights_lineage": []}')
    record_lineage(model, [])
    assert metadata.read_text() == '{"version": "1.0", "weights_lineage": []}'  # nothing new: not rewritten
    record_lineage(model, [SWAG])
    assert json.loads(metadata.read_text()) == {"version": "1.0", "weights_lineage": [SWAG.as_dict()]}
    assert lineage_of_file(model) == (SWAG,)
    record_lineage(model, [])  # trained anew from scratch: the old ancestor is gone from both
    assert lineage_of_file(model) == ()
    outside = tmp_path / "runs" / "model.pt"
    outside.parent.mkdir()
    record_lineage(outside, [SWAG])
    assert json.loads(metadata.read_text())["weights_lineage"] == []
