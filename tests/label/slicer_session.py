"""What the MONAI Label plugin does with a mask, in 3D Slicer's core without a screen; run by the environment's python.

``python slicer_session.py REQUEST.json``: loads ``image`` and ``mask``, makes empty ``segments`` (their order is the
order in Slicer's list), imports the mask's values as ``names``, exports as the plugin does to ``export``, draws
``picture`` if given, and prints a report.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer_picture import draw
from vtk.util.numpy_support import vtk_to_numpy

SKIPPED = ("background", "foreground_scribbles", "background_scribbles")  # as in MONAILabel.py of the plugin


def voxels(node: Any) -> np.ndarray:
    """Voxels (I, J, K) of a volume node."""
    image = node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).transpose(2, 1, 0)


def affine(node: Any) -> list[list[float]]:
    """IJK to RAS."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]


def names(words: list[str]) -> vtk.vtkStringArray:
    """A list for VTK."""
    array = vtk.vtkStringArray()
    for word in words:
        array.InsertNextValue(word)
    return array


def main() -> None:
    """Do what the request says."""
    request = json.loads(Path(sys.argv[1]).read_text())
    scene = slicer.vtkMRMLScene()
    volumes, logic = slicer.vtkSlicerVolumesLogic(), slicer.vtkSlicerSegmentationsModuleLogic()
    volumes.SetMRMLScene(scene)
    logic.SetMRMLScene(scene)  # before the import, which does nothing without
    image = volumes.AddArchetypeVolume(request["image"], "image", 0)
    mask = volumes.AddArchetypeVolume(request["mask"], "mask", 1)
    node = slicer.vtkMRMLSegmentationNode()
    scene.AddNode(node)
    node.SetReferenceImageGeometryParameterFromVolumeNode(image)
    for name in request["segments"]:
        node.GetSegmentation().AddEmptySegment(name, name)
    imported = logic.ImportLabelmapToSegmentationNode(mask, node, names(request["names"]))
    exported = slicer.vtkMRMLLabelMapVolumeNode()
    scene.AddNode(exported)
    info = label_info(node.GetSegmentation())
    saved = logic.ExportSegmentsToLabelmapNode(node, names([row["name"] for row in info]), exported, image)
    storage = exported.CreateDefaultStorageNode()
    storage.SetFileName(request["export"])
    saved = saved and bool(storage.WriteData(exported))
    if request.get("picture"):
        draw(voxels(image), node, affine(image), request["picture"])
    affines = {"image": affine(image), "mask": affine(mask), "export": affine(exported)}
    print(json.dumps({"imported": bool(imported), "saved": saved, "affines": affines, "label_info": info}))


def label_info(segmentation: Any) -> list[dict[str, Any]]:
    """The names and numbers that the plugin sends: the place among all segments, whether exported or not."""
    rows = []
    for place in range(segmentation.GetNumberOfSegments()):
        name = segmentation.GetNthSegment(place).GetName()
        if name not in SKIPPED:
            rows.append({"name": name, "idx": place + 1})
    return rows


if __name__ == "__main__":
    main()
