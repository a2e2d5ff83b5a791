import pytest
import torch

from medtl_monai.networks.transfer_classifier import TransferClassifier
from tests.networks.toy_encoder import ToyEncoder


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize(("dims", "size"), [(2, (31, 20)), (3, (9, 10, 11))])
def test_features_are_the_mean_of_the_deepest_level(dims, size):
    network = TransferClassifier(ToyEncoder(dims, (2, 2)), out_channels=4).eval()
    image = torch.rand(3, 1, *size)
    expected = network.encoder(image)[-1].mean(dim=tuple(range(2, 2 + dims)))
    assert torch.allclose(network.features(image), expected, atol=1e-6)
    linear = network.class_head[1]
    assert torch.allclose(network(image), expected @ linear.weight.T + linear.bias, atol=1e-5)
    assert network(image).shape == (3, 4)


def test_an_image_that_is_too_small_is_padded_inside():
    encoder = ToyEncoder(2, (2, 2))
    encoder.min_size = 32
    network = TransferClassifier(encoder).eval()
    assert network(torch.rand(1, 1, 5, 40)).shape == (1, 2)
    assert network.encoder(torch.rand(1, 1, 32, 40))[0].shape[2:] == (16, 20)


def test_every_parameter_gets_a_gradient_and_is_in_one_stage():
    network = TransferClassifier(ToyEncoder())
    network(torch.rand(2, 1, 17, 16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        network.stage_of(name)
    assert network.head == "head"


def test_script_and_export_give_the_same_logits():
    network = TransferClassifier(ToyEncoder(2, (2, 2))).eval()
    image = torch.rand(2, 1, 20, 23)
    assert torch.allclose(torch.jit.script(network)(image), network(image), atol=1e-6)
    assert torch.allclose(torch.export.export(network, (image,)).module()(image), network(image), atol=1e-6)


def test_depth_that_keeps_its_resolution_is_not_padded():
    encoder = ToyEncoder(3, (2, 2))
    encoder.strides, encoder.min_size, encoder.size_multiple = ((2, 2, 1), (4, 4, 1)), 32, 16
    network = TransferClassifier(encoder)
    assert (network.minimum, network.multiple) == ([32, 32, 1], [16, 16, 1])
