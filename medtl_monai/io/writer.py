"""MONAI's NIfTI writer made safe: ``SaveImaged(..., writer="medtl_monai.io.writer.AtomicNiftiWriter")``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import NibabelWriter
from monai.data.utils import to_affine_nd

from medtl_monai.errors import OutputError
from medtl_monai.io.nifti_save import save_nifti, set_affine

logger = logging.getLogger(__name__)
_sources: dict[Path, str] = {}  # what this process wrote, and from which input; SaveImage makes a writer per file


class AtomicNiftiWriter(NibabelWriter):
    """NibabelWriter that leaves a whole file or none, and does not overwrite one input's result with another's.

    SaveImage catches what a writer raises and raises a RuntimeError that carries its text: path and errno stay
    readable. Passed as `writer` it is the only one, so that no second writer hides the failure.

    Args:
        output_dtype: type of the saved voxels; None keeps the type of the data.
        scale: not supported by NIfTI output; accepted because SaveImage always passes it.
    """

    data_obj: Any

    def __init__(self, output_dtype: Any = np.float32, scale: int | None = None) -> None:
        super().__init__(output_dtype=output_dtype)
        if scale is not None:
            raise OutputError("scale is not supported for NIfTI", expected="None", got=scale)
        self._source: str | None = None

    def set_metadata(self, meta_dict: Mapping[str, Any] | None, resample: bool = True, **options: Any) -> None:
        """Take affine and source from the metadata, resampling as NibabelWriter does."""
        source = (meta_dict or {}).get("filename_or_obj")
        self._source = None if source is None else str(source)
        super().set_metadata(meta_dict, resample=resample, **options)

    def write(self, filename: str | PathLike[str], verbose: bool = False, **obj_kwargs: Any) -> None:
        """Write the file atomically and read it back.

        Raises:
            OutputError: the file cannot be written whole, or this process wrote it from another input.
        """
        path = Path(filename).resolve()
        self._refuse_other_source(path)
        image = self.create_backend_obj(self.data_obj, affine=self.affine, dtype=self.output_dtype, **obj_kwargs)
        affine = np.eye(4) if self.affine is None else to_affine_nd(3, np.asarray(self.affine))
        set_affine(image, affine)
        save_nifti(image, path)
        self.data_obj = image
        # The name alone: the folders of a path often name patients.
        logger.info("wrote %s, %s voxels", path.name, "x".join(map(str, image.shape)))
        if self._source is not None:
            _sources[path] = self._source

    def _refuse_other_source(self, path: Path) -> None:
        earlier = _sources.get(path)
        if earlier is None or self._source in (None, earlier) or not path.exists():
            return
        raise OutputError(
            "two inputs have one output name",
            path=path,
            expected=f"the result of {earlier}",
            got=f"the result of {self._source}",
            remedy="give each input its own output folder or name (SaveImage: data_root_dir)",
        )
