"""The recipes of the bundles that come with the library."""

from __future__ import annotations

from medtl_monai.bundle.compose.recipe import Recipe, Step

_MODALITY = "medtl_monai.transforms.modality"
_DICE_CE: Step = {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True, "batch": True}


def _flip(axis: int, keys: str = "@both") -> Step:
    return {"_target_": "RandFlipd", "keys": keys, "prob": 0.5, "spatial_axis": axis}


def _affine(dimensions: int, scale: float) -> Step:
    return {
        "_target_": "RandAffined",
        "keys": "@both",
        "prob": 0.5,
        "rotate_range": [0.26] * dimensions if dimensions == 3 else 0.26,
        "scale_range": [scale] * dimensions,
        "mode": ["bilinear", "nearest"],
        "padding_mode": "border",
    }


_CONTRAST: Step = {
    "_target_": "RandAdjustContrastd",
    "keys": "image",
    "prob": 0.3,
    "gamma": [0.7, 1.5],
    "retain_stats": True,
}
_BRIGHTNESS: Step = {"_target_": "RandScaleIntensityd", "keys": "image", "prob": 0.3, "factors": 0.2}
_BLUR: Step = {"_target_": "RandGaussianSmoothd", "keys": "image", "prob": 0.2}
_HIPPOCAMPUS = {0: "background", 1: "anterior hippocampus", 2: "posterior hippocampus"}
_MR_VOLUME: Step = {"_target_": f"{_MODALITY}.mr_volume", "spacing": "@spacing", "bias_field": "@bias_field"}
_ABDOMEN = dict(
    enumerate(
        (
            *("background", "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach"),
            *("aorta", "inferior vena cava", "pancreas", "right adrenal gland", "left adrenal gland", "duodenum"),
            *("bladder", "prostate or uterus"),
        )
    )
)


def _noise(deviation: float) -> Step:
    return {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.2, "std": deviation}


HIPPOCAMPUS = Recipe(
    task="segmentation",
    dimensions=3,
    names=_HIPPOCAMPUS,
    network="unet",
    preprocessing=_MR_VOLUME,
    augmentation=[_flip(0), _affine(3, 0.15), _CONTRAST, _BRIGHTNESS, _BLUR, _noise(0.15)],
    epochs=200,
    learning_rate=0.001,
    batch_size=2,
    knobs={"spacing": [1.0, 1.0, 1.0], "bias_field": False},
    patch_size=[40, 56, 40],
    window=[64, 64, 64],
    mirror_axes=[0],
    loss=_DICE_CE,
)

HIPPOCAMPUS_SLICES = Recipe(
    task="segmentation",
    dimensions=2,
    names=_HIPPOCAMPUS,
    network="unet_squeezenet1_0",
    preprocessing=_MR_VOLUME,
    augmentation=[_affine(2, 0.15), _CONTRAST, _BRIGHTNESS, _BLUR, _noise(0.05)],
    epochs=60,
    learning_rate=0.0003,
    batch_size=16,
    cases_per_epoch=400,
    knobs={"spacing": [1.0, 1.0, 1.0], "bias_field": False},
    patch_size=[1, 64, 48],
    slice_axis=0,
    loss=_DICE_CE,
    source="imagenet_squeezenet1_0_pruned",
)

HEMORRHAGE = Recipe(
    task="classification",
    dimensions=2,
    names={0: "normal", 1: "haemorrhage"},
    network="classifier_squeezenet1_0",
    preprocessing={"_target_": f"{_MODALITY}.ct_slice", "window": "@windows", "size": "@image_size"},
    augmentation=[
        _flip(1, "image"),
        {
            "_target_": "RandAffined",
            "keys": "image",
            "prob": 0.7,
            "rotate_range": 0.26,
            "scale_range": [0.1, 0.1],
            "translate_range": [10, 10],
            "mode": "bilinear",
            "padding_mode": "border",
        },
        {**_CONTRAST, "gamma": [0.8, 1.25]},
        {**_BRIGHTNESS, "factors": 0.1},
    ],
    epochs=30,
    learning_rate=0.0001,
    batch_size=8,
    knobs={"image_size": 224, "colour": "refuse", "windows": ["brain"]},
)

ADRENAL = Recipe(
    task="classification",
    dimensions=3,
    names={0: "normal", 1: "hyperplasia"},
    network="classifier_squeezenet1_0_i3d",
    preprocessing={"_target_": f"{_MODALITY}.mask_volume", "size": "@image_size"},
    augmentation=[
        *(_flip(axis, "image") for axis in range(3)),
        {
            "_target_": "RandAffined",
            "keys": "image",
            "prob": 0.5,
            "rotate_range": [0.26, 0.26, 0.26],
            "scale_range": [0.1, 0.1, 0.1],
            "mode": "bilinear",
            "padding_mode": "border",
        },
    ],
    epochs=15,
    learning_rate=0.0001,
    batch_size=16,
    knobs={"image_size": [28, 28, 28]},
)

ABDOMEN = Recipe(
    task="segmentation",
    dimensions=3,
    names=_ABDOMEN,
    network="unet_medicalnet_resnet18",
    preprocessing={"_target_": f"{_MODALITY}.ct_volume", "spacing": "@spacing", "window": "@hu_window"},
    augmentation=[_affine(3, 0.1), {**_BRIGHTNESS, "factors": 0.1}, _noise(0.1)],
    epochs=300,
    learning_rate=0.001,
    batch_size=2,
    knobs={"spacing": [1.5, 1.5, 1.5], "hu_window": "abdomen"},
    patch_size=[96, 96, 96],
    window=[96, 96, 96],
    loss=_DICE_CE,
    source="medicalnet_resnet18_23datasets",
)

SUITE = {
    "hippocampus_mri_segmentation": HIPPOCAMPUS,
    "hippocampus_mri_slice_segmentation": HIPPOCAMPUS_SLICES,
    "hemorrhage_ct_classification": HEMORRHAGE,
    "adrenal_ct_classification": ADRENAL,
    "abdomen_ct_segmentation": ABDOMEN,
}
