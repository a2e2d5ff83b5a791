"""Nothing is predicted without trained weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtl_monai.errors import WeightsError
from medtl_monai.workflows.required_weights import require_weights


def test_without_weights_the_commands_that_train_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="train them: `fetch x`, then `python -m x`"):
        require_weights(str(tmp_path / "model.pt"), ["fetch x", "python -m x"])
    (tmp_path / "model.pt").write_bytes(b"")
    require_weights(str(tmp_path / "model.pt"), ["python -m x"])
