"""What MONAI Deploy's own DICOM operators make of a folder: shape and affine as JSON. Run in its environment."""

import json
import sys
from pathlib import Path

from monai.deploy.core import Application
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator

folder = Path(sys.argv[1])
app = Application([])
studies = DICOMDataLoaderOperator(app, input_folder=folder).load_data_to_studies(folder)
chosen = DICOMSeriesSelectorOperator(app).filter(None, studies)
image = DICOMSeriesToVolumeOperator(app).convert_to_image(chosen)
print(json.dumps({"shape": image.asnumpy().shape, "affine": image.metadata()["affine"].tolist()}))
