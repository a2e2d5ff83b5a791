"""Registry rows of HighRes3DNet."""

from __future__ import annotations

from medtl_monai.weights.row import InputSpec, PretrainedWeights

ROWS = (
    PretrainedWeights(
        name="highres3dnet_gif",
        architecture="highres3dnet",
        naming="fepegar_highresnet",
        url="https://github.com/fepegar/highresnet-models/raw/652bdd3dfd6dfebfed7ee487415dd918d3787152/"
        "highres3dnet_li_parameters-7d297872.pth",
        sha256="7d2978724469087fa46d5beda42edc7b5941cdec2065e310534ca8a7a5d15edc",
        size_bytes=3_329_775,
        licence="MIT",
        commercial_use=True,
        citation="Li et al., IPMI 2017, arXiv:1707.01992; Perez-Garcia, highresnet, doi:10.5281/zenodo.3349989",
        input=InputSpec(
            channels=1,
            spatial_dims=3,
            spacing=(1.0, 1.0, 1.0),
            orientation="RAS",
            normalisation="histogram standardisation to the training set, then zero mean and unit variance of the "
            "foreground; a z-score per volume is the usual stand-in for fine-tuning",
            preprocessing="zscore",
            axis_order="CHWD",
        ),
        training_data="543 T1-weighted brain MR images (ADNI) with GIF parcellations of 160 structures",
        tensors=126,
        parameters=821_904,
        source_classes=160,
        head=("blocks.11",),
    ),
)
