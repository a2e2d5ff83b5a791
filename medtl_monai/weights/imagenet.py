"""Registry rows of 2D networks trained on ImageNet: torchvision's published weights and one pruned SqueezeNet.

The figures are torchvision's own (``torchvision.models.get_model_weights``), written down here so that nothing has to
be imported to read them; the tests compare the two.
"""

from __future__ import annotations

from dataclasses import replace

from medtl_monai.weights.row import InputSpec, PretrainedWeights

_MIB = 1 << 20
_SIZE_TOLERANCE = 525  # torchvision rounds MiB to three decimals: half of the last is 524.3 bytes
_TRAINING_DATA = "ImageNet-1k (ILSVRC 2012): 1.28 million photographs of 1000 classes"
_IMAGE_TERMS = (
    "the ImageNet images were licensed for non-commercial research; whether that binds weights trained on them is for "
    "the user to judge"
)


def _input(resize: int, crop: int, interpolation: str) -> InputSpec:
    return InputSpec(
        channels=3,
        spatial_dims=2,
        spacing=None,
        orientation="",
        normalisation="RGB in 0 to 1, minus the ImageNet mean, divided by the ImageNet standard deviation, per channel",
        preprocessing="imagenet",
        axis_order="CHW",
        value_range=(0.0, 1.0),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize=resize,
        crop=crop,
        interpolation=interpolation,
    )


def _row(
    architecture: str,
    tensors: int,
    parameters: int,
    head: str,
    file: str,
    mib: float,
    image: InputSpec,
    citation: str,
    name: str = "",
) -> PretrainedWeights:
    return PretrainedWeights(
        name=f"imagenet_{name or architecture}",
        architecture=architecture,
        naming="torchvision",
        url=f"https://download.pytorch.org/models/{file}",
        sha256=file.removesuffix(".pth").rsplit("-", 1)[1],
        size_bytes=round(mib * _MIB),
        size_tolerance=_SIZE_TOLERANCE,
        licence="BSD-3-Clause",
        commercial_use=True,
        licence_note=_IMAGE_TERMS,
        citation=f"{citation}; Deng et al., ImageNet, CVPR 2009; torchvision",
        input=image,
        training_data=_TRAINING_DATA,
        tensors=tensors,
        parameters=parameters,
        source_classes=1000,
        head=(head,),
    )


_PLAIN = _input(256, 224, "bilinear")
_V2 = _input(232, 224, "bilinear")
_RESNET = "He et al., ResNet, CVPR 2016, arXiv:1512.03385"
_RESNEXT = "Xie et al., ResNeXt, CVPR 2017, arXiv:1611.05431"
_DENSENET = "Huang et al., DenseNet, CVPR 2017, arXiv:1608.06993"
_EFFICIENTNET = "Tan and Le, EfficientNet, ICML 2019, arXiv:1905.11946; Wightman, timm"
_VGG = "Simonyan and Zisserman, VGG, ICLR 2015, arXiv:1409.1556"
_SQUEEZENET = "Iandola et al., SqueezeNet, 2016, arXiv:1602.07360"
_MOBILENET = "Howard et al., MobileNetV3, ICCV 2019, arXiv:1905.02244"
_CONVNEXT = "Liu et al., ConvNeXt, CVPR 2022, arXiv:2201.03545"
_SWIN = "Liu et al., Swin Transformer, ICCV 2021, arXiv:2103.14030"
_VIT = "Dosovitskiy et al., ViT, ICLR 2021, arXiv:2010.11929"

# fmt: off
_TORCHVISION = (
    _row("resnet18", 122, 11_689_512, "fc", "resnet18-f37072fd.pth", 44.661, _PLAIN, _RESNET),
    _row("resnet34", 218, 21_797_672, "fc", "resnet34-b627a593.pth", 83.275, _PLAIN, _RESNET),
    _row("resnet50", 320, 25_557_032, "fc", "resnet50-0676ba61.pth", 97.781, _PLAIN, _RESNET),
    _row("resnet50", 320, 25_557_032, "fc", "resnet50-11ad3fa6.pth", 97.79, _V2, _RESNET, "resnet50_v2"),
    _row("resnet101", 626, 44_549_160, "fc", "resnet101-63fe2227.pth", 170.511, _PLAIN, _RESNET),
    _row("resnet101", 626, 44_549_160, "fc", "resnet101-cd907fc2.pth", 170.53, _V2, _RESNET, "resnet101_v2"),
    _row("resnext50_32x4d", 320, 25_028_904, "fc", "resnext50_32x4d-7cdf4587.pth", 95.789, _PLAIN, _RESNEXT,
         "resnext50"),
    _row("resnext50_32x4d", 320, 25_028_904, "fc", "resnext50_32x4d-1a0047aa.pth", 95.833, _V2, _RESNEXT,
         "resnext50_v2"),
    replace(
        _row("densenet121", 727, 7_978_856, "classifier", "densenet121-a639ec97.pth", 30.845, _PLAIN, _DENSENET),
        naming="torchvision_densenet",
    ),
    _row("efficientnet_b0", 360, 5_288_548, "classifier", "efficientnet_b0_rwightman-7f5810bc.pth", 20.451,
         _input(256, 224, "bicubic"), _EFFICIENTNET),
    _row("efficientnet_b3", 574, 12_233_232, "classifier", "efficientnet_b3_rwightman-b3899882.pth", 47.184,
         _input(320, 300, "bicubic"), _EFFICIENTNET),
    _row("vgg16_bn", 97, 138_365_992, "classifier", "vgg16_bn-6c64b313.pth", 527.866, _PLAIN, _VGG),
    _row("squeezenet1_0", 52, 1_248_424, "classifier", "squeezenet1_0-b66bff10.pth", 4.778, _PLAIN, _SQUEEZENET),
    _row("mobilenet_v3_large", 312, 5_483_032, "classifier", "mobilenet_v3_large-8738ca79.pth", 21.114, _PLAIN,
         _MOBILENET),
    _row("mobilenet_v3_large", 312, 5_483_032, "classifier", "mobilenet_v3_large-5c1a4163.pth", 21.107, _V2,
         _MOBILENET, "mobilenet_v3_large_v2"),
    _row("convnext_tiny", 182, 28_589_128, "classifier", "convnext_tiny-983f1562.pth", 109.119,
         _input(236, 224, "bilinear"), _CONVNEXT),
    _row("swin_t", 185, 28_288_354, "head", "swin_t-704ceda3.pth", 108.19, _input(232, 224, "bicubic"), _SWIN),
    _row("vit_b_16", 152, 86_567_656, "heads", "vit_b_16-c867db91.pth", 330.285, _PLAIN, _VIT),
)
# fmt: on

_SWAG = replace(
    _row(
        "vit_b_16",
        152,
        86_567_656,
        "heads",
        "vit_b_16_lc_swag-4e70ced5.pth",
        330.285,
        _input(224, 224, "bicubic"),
        f"{_VIT}; Singh et al., SWAG, CVPR 2022, arXiv:2201.08371",
        "vit_b_16_swag",
    ),
    licence="CC-BY-NC-4.0",
    commercial_use=False,
    licence_note="licence of the SWAG weights: github.com/facebookresearch/SWAG/blob/main/LICENSE",
    training_data="photographs from Instagram with their hashtags; head alone on ImageNet-1k",
)

_PRUNED_SQUEEZENET = replace(
    _row(
        "squeezenet1_0",
        52,
        1_248_424,
        "classifier",
        "squeezenet1_0-b66bff10.pth",
        4.778,
        _PLAIN,
        f"{_SQUEEZENET}; Han et al., Deep Compression, ICLR 2016, arXiv:1510.00149",
        "squeezenet1_0_pruned",
    ),
    url="https://github.com/songhan/SqueezeNet-Deep-Compression/blob/fb13faa2cf121ced9999f8a9d538ec6c56084733/"
    "compressed_SqueezeNet.net",
    sha256="b0434fa116881e7550d71b8e41c5ab57d3f21dc54667371fbc522022952f8d25",
    size_bytes=5_012_155,
    size_tolerance=0,
    licence="BSD-2-Clause",
    training_data=f"{_TRAINING_DATA}; about two thirds of the weights pruned, the rest in 8-bit codebooks",
    converted="decoded from compressed_SqueezeNet.net and renamed to torchvision's names, with Caffe's preprocessing "
    "(BGR 0 to 255 minus 104, 117, 123) folded into the first convolution",
    stored_as="squeezenet1_0_imagenet.pth",
)

ROWS = (*_TORCHVISION, _SWAG, _PRUNED_SQUEEZENET)
