"""One scan in memory: voxels, where they lie, and what was noticed on the way in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medtl_monai.errors import GeometryError
from medtl_monai.findings import Finding
from medtl_monai.io.geometry import check_affine, spacing_of


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D scan or label map.

    Attributes:
        array: (I, J, K) voxels.
        affine: (4, 4) float64, voxel index to mm in RAS+.
        case_id: name of the case; never made from a patient's name or number.
        modality: DICOM modality such as "CT" or "MR", where the file says it.
        findings: what was corrected or is worth knowing.

    Raises:
        GeometryError: the array is not 3-D, has an empty axis, or the affine is not usable.
    """

    array: NDArray[np.generic]
    affine: NDArray[np.float64]
    case_id: str
    modality: str | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or 0 in self.array.shape:
            shape = self.array.shape
            raise GeometryError("not a 3-D volume", case=self.case_id, expected="three non-empty axes", got=shape)
        check_affine(self.affine, case=self.case_id)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size (3,) in mm."""
        return spacing_of(self.affine)
