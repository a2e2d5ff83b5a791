"""Registry rows of MedicalNet (Med3D): 3D ResNets from segmentation of 8 or 23 public data sets."""

from __future__ import annotations

from medtl_monai.weights.row import InputSpec, PretrainedWeights

_INPUT = InputSpec(
    channels=1,
    spatial_dims=3,
    spacing=None,
    orientation="SAR",
    normalisation="paper: each volume resampled to the median spacing of its data set, clipped to its 0.5 and 99.5 "
    "percentiles, then zero mean and unit variance of the volume",
    preprocessing="medicalnet_paper",
    axis_order="CDHW",
)
_SIZES = {  # depth -> tensors, parameters
    10: (72, 14_355_520),
    18: (102, 32_986_176),
    34: (198, 63_295_808),
    50: (318, 46_155_072),
    101: (624, 85_201_216),
    152: (930, 117_359_936),
    200: (1218, 126_559_552),
}
_EIGHT = {
    10: "2824951eaef30e115929b89bec72342380b08d14792bda1449974ac849e497c0",
    18: "38b3a17444c5c18a795355a868e6a2d9ce9318054067f5373d337f55c0f61da3",
    34: "977a1be79298602fa35980de9c03789229ad36087fb1f4d9bde468aec653c658",
    50: "5b6189cafbee2f5604a7279b62bc163365aa6a86a377e1dc260a14275cacbd84",
    101: "a26bbcf9b2ad35f048b0fa317234c003f171a4d719760e5c4aff9f793654ebcf",
    152: "e96c459f5317ef2cbb898c91575402da2c78b31a31f55c5d28943683fe0626da",
    200: "df58525b0276117169782617a379480d2cbc75230e84e152c603bf22a1fabfa8",
}
_TWENTY_THREE = {
    10: "afa8055f3e47f4a18239495d92a7abc587902c69c31c743de2b2784653b72605",
    18: "61224f9317fcce873366deb3703183e92cc47325b726b69691b33536244e10f4",
    34: "3ea7188e396774e4ef95b66e5e90a78273bb33f6e58d3d717bf24f5f1aaeaa28",
    50: "ff48a62219073fb977fd3f4ddfb8dc1367f0ec156c8d6f6c37e205bd683a246e",
}
_PUBLISHED_SIZES = {"medicalnet_resnet10_23datasets": 57_456_599}  # bytes; the others tell none


def _row(name: str, depth: int, file: str, sha256: str, training_data: str) -> PretrainedWeights:
    tensors, parameters = _SIZES[depth]
    return PretrainedWeights(
        name=name,
        architecture=f"medicalnet_resnet{depth}",
        naming="published",
        url=f"https://huggingface.co/TencentMedicalNet/MedicalNet-Resnet{depth}/resolve/main/{file}",
        sha256=sha256,
        size_bytes=_PUBLISHED_SIZES.get(name),
        licence="MIT",
        commercial_use=True,
        licence_note="the data sets it was trained on have terms of their own",
        citation="Chen, Ma, Zheng, Med3D, 2019, arXiv:1904.00625",
        input=_INPUT,
        training_data=training_data,
        tensors=tensors,
        parameters=parameters,
        source_classes=0,
        head=(),
    )


ROWS = (
    *(
        _row(
            f"medicalnet_resnet{depth}", depth, f"resnet_{depth}.pth", sha256, "3DSeg-8: 8 CT and MR segmentation sets"
        )
        for depth, sha256 in _EIGHT.items()
    ),
    *(
        _row(
            f"medicalnet_resnet{depth}_23datasets",
            depth,
            f"resnet_{depth}_23dataset.pth",
            sha256,
            "23 CT and MR segmentation data sets",
        )
        for depth, sha256 in _TWENTY_THREE.items()
    ),
)
