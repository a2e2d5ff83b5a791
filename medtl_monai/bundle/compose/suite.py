"""The recipes of the bundles that come with the library."""

from __future__ import annotations

from medtl_monai.bundle.compose.augmentation import (
    ANGLE,
    BLUR,
    affine,
    affine_2d_image,
    affine_3d_image,
    brightness,
    contrast,
    flip,
    noise,
)
from medtl_monai.bundle.compose.optimisation import DICE_CE
from medtl_monai.bundle.compose.recipe import Recipe, Step

_MODALITY = "medtl_monai.transforms.modality"


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


HIPPOCAMPUS = Recipe(
    task="segmentation",
    dimensions=3,
    names=_HIPPOCAMPUS,
    network="unet",
    preprocessing=_MR_VOLUME,
    augmentation=[flip(0), affine([ANGLE] * 3, [0.15] * 3), contrast(0.7, 1.5), brightness(0.2), BLUR, noise(0.15)],
    epochs=200,
    learning_rate=0.001,
    batch_size=2,
    knobs={"spacing": [1.0, 1.0, 1.0], "bias_field": False},
    patch_size=[40, 56, 40],
    window=[64, 64, 64],
    mirror_axes=[0],
    loss=DICE_CE,
)

HIPPOCAMPUS_SLICES = Recipe(
    task="segmentation",
    dimensions=2,
    names=_HIPPOCAMPUS,
    network="unet_squeezenet1_0",
    preprocessing=_MR_VOLUME,
    augmentation=[affine(ANGLE, [0.15] * 2), contrast(0.7, 1.5), brightness(0.2), BLUR, noise(0.05)],
    epochs=40,
    learning_rate=0.001,
    batch_size=16,
    cases_per_epoch=480,
    knobs={"spacing": [1.0, 1.0, 1.0], "bias_field": False},
    patch_size=[1, 48, 32],
    slice_axis=0,
    loss=DICE_CE,
    source="imagenet_squeezenet1_0_pruned",
)

HEMORRHAGE = Recipe(
    task="classification",
    dimensions=2,
    names={0: "normal", 1: "haemorrhage"},
    network="classifier_squeezenet1_0",
    preprocessing={"_target_": f"{_MODALITY}.ct_slice", "window": "@windows", "size": "@image_size"},
    augmentation=[flip(1, "image"), affine_2d_image(10), contrast(0.8, 1.25), brightness(0.1)],
    epochs=120,
    learning_rate=0.00003,
    batch_size=8,
    knobs={"image_size": 112, "colour": "refuse", "windows": ["brain"]},
)

ADRENAL = Recipe(
    task="classification",
    dimensions=3,
    names={0: "normal", 1: "hyperplasia"},
    network="classifier_squeezenet1_0_i3d",
    preprocessing={"_target_": f"{_MODALITY}.mask_volume", "size": "@image_size"},
    augmentation=[*(flip(axis, "image") for axis in range(3)), affine_3d_image()],
    epochs=15,
    learning_rate=0.0003,
    batch_size=16,
    knobs={"image_size": [28, 28, 28]},
)

ABDOMEN = Recipe(
    task="segmentation",
    dimensions=3,
    names=_ABDOMEN,
    network="unet_medicalnet_resnet18",
    preprocessing={"_target_": f"{_MODALITY}.ct_volume", "spacing": "@spacing", "window": "@hu_window"},
    augmentation=[affine([ANGLE] * 3, [0.1] * 3), brightness(0.1), noise(0.1)],
    epochs=300,
    learning_rate=0.001,
    batch_size=2,
    knobs={"spacing": [1.5, 1.5, 1.5], "hu_window": "abdomen"},
    patch_size=[96, 96, 96],
    window=[96, 96, 96],
    centres="structures",
    loss=DICE_CE,
    source="medicalnet_resnet18_23datasets",
)

SUITE = {
    "hippocampus_mri_segmentation": HIPPOCAMPUS,
    "hippocampus_mri_slice_segmentation": HIPPOCAMPUS_SLICES,
    "hemorrhage_ct_classification": HEMORRHAGE,
    "adrenal_ct_classification": ADRENAL,
    "abdomen_ct_segmentation": ABDOMEN,
}
