import pytest
import torch

from medtl_monai.networks.decoder import UNetDecoder, decoder_widths
from medtl_monai.networks.staged import set_dropout
from medtl_monai.networks.transfer_unet import TransferUNet
from tests.networks.toy_encoder import ToyEncoder


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("dims", "steps", "size"),
    [
        (3, (2, 2, 1, 4), (7, 18, 5)),
        (3, (1, 1, 1), (6, 5, 4)),
        (2, (4, 2, 2), (33, 50)),
        (2, (1, 2), (1, 1)),
        (2, (16, 1, 1), (40, 17)),
    ],
)
def test_logits_lie_on_the_voxels_of_any_input_size(dims, steps, size):
    network = TransferUNet(ToyEncoder(dims, steps, in_channels=2), out_channels=3).train()
    logits = network(torch.rand(1, 2, *size))
    assert logits.shape == (1, 3, *size)
    logits.sum().backward()


def test_every_parameter_gets_a_gradient_and_is_in_one_stage():
    network = TransferUNet(ToyEncoder())
    network(torch.rand(2, 1, 17, 16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert [stage for stage in network.stages if any(p is parameter for p in network.stage_parameters(stage))] == [
            network.stage_of(name)
        ]
    assert list(network.stages) == ["level0", "level1", "level2", "level3", "decoder", "head"]


def test_skip_connections_come_at_the_strides_of_the_encoder():
    """Levels of one stride are joined as they are: no interpolation may touch them."""
    encoder = ToyEncoder(3, (2, 1, 1))
    decoder = UNetDecoder(encoder)
    seen = []
    for join in decoder.joins:
        join.mix.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 1, 8, 8, 8)
    features = encoder(image)
    decoder(image, features)
    assert torch.equal(seen[0], torch.cat([features[2], features[1]], dim=1))
    assert [tensor.shape[2:] for tensor in seen] == [(4, 4, 4)] * 2


def test_widths_grow_with_the_stride():
    assert decoder_widths(ToyEncoder(3, (2, 2, 2, 1, 4))) == [32, 64, 128, 128, 128]
    assert decoder_widths(ToyEncoder(2, (2, 2, 4))) == [64, 128, 256]


def test_a_flat_image_cannot_starve_batch_norm():
    network = TransferUNet(ToyEncoder(2, (4, 4))).train()
    assert torch.isfinite(network(torch.rand(1, 1, 3, 3))).all()


def test_dropout_reaches_the_decoder():
    network = TransferUNet(ToyEncoder(2, (2, 2)), dropout=0.4)
    set_dropout(network, 0.2)
    assert {layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout2d)} == {0.2}
    image = torch.rand(1, 1, 16, 16)
    network.train()
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_script_and_export_give_the_same_logits():
    network = TransferUNet(ToyEncoder(3, (2, 2, 1))).eval()
    image = torch.rand(1, 1, 9, 12, 7)
    expected = network(image)
    scripted = torch.jit.script(network)
    assert torch.allclose(scripted(image), expected, atol=1e-6)
    other = torch.rand(2, 1, 16, 5, 8)
    assert torch.allclose(scripted(other), network(other), atol=1e-6)
    exported = torch.export.export(network, (image,)).module()
    assert torch.allclose(exported(image), expected, atol=1e-6)


def test_freezing_the_encoder_leaves_the_decoder():
    network = TransferUNet(ToyEncoder())
    network.freeze(["level0", "level1", "level2", "level3"])
    network.train()
    trainable = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trainable == {"decoder", "head_conv"}
    before = network.encoder.levels[0][1].running_mean.clone()
    network(torch.rand(2, 1, 16, 16, 16))
    assert torch.equal(before, network.encoder.levels[0][1].running_mean)
