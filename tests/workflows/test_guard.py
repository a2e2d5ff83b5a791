"""A loss that is not a number ends the training and names the case."""

from __future__ import annotations

import numpy as np
import pytest
from toy import Toy, images

from medtl_monai.errors import MedTLError
from medtl_monai.workflows.guard import FiniteLoss


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_planted_voxel_names_its_case(value: float) -> None:
    data = images()
    data[3]["image"][0, 1, 2, 3] = value
    with pytest.raises(MedTLError, match="case_3") as caught:
        Toy(data=data).attach(FiniteLoss()).run()
    for part in ("not finite", "epoch 1", "--learning_rate"):
        assert part in str(caught.value)
    assert len(str(caught.value.case).split(", ")) == 2  # only the batch that it was in


def test_finite_training_goes_through() -> None:
    toy = Toy(epochs=2).attach(FiniteLoss())
    toy.run()
    assert toy.trainer.state.epoch == 2
