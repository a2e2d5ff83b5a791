import numpy as np
import pytest
import torch

from medtl_monai.networks.padding import crop_to, pad_to


@pytest.mark.parametrize("shape", [(1, 2, 5, 16), (2, 1, 1, 9, 30)])
def test_padding_repeats_the_edge_as_numpy_does(shape):
    image = torch.rand(shape)
    dims = len(shape) - 2
    padded = pad_to(image, [8] * dims, [16] + [1] * (dims - 1))
    lengths = [max(-(-length // 8) * 8, 16 if axis == 0 else 8) for axis, length in enumerate(shape[2:])]
    widths = [(0, 0), (0, 0), *((0, new - old) for new, old in zip(lengths, shape[2:], strict=True))]
    assert np.array_equal(padded.numpy(), np.pad(image.numpy(), widths, mode="edge"))
    assert torch.equal(crop_to(padded, image), image)


def test_an_image_that_fits_is_passed_on():
    image = torch.rand(1, 1, 16, 8)
    assert pad_to(image, [8, 8], [16, 8]) is image
