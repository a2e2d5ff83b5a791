"""A four-part view as in Slicer, drawn off screen: three slices with the segments' outlines, and the surfaces in 3D.

Everything is placed by Slicer's own geometry (RAS, mm): the image by its IJK-to-RAS matrix, the segments by the closed
surfaces that Slicer makes of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SIZE = (1100, 900)
COLOURS = ((0.90, 0.35, 0.30), (0.35, 0.70, 0.95), (0.95, 0.80, 0.30))
# Corner of the window; direction from which one looks (RAS), and what is up: axial, 3D, sagittal, coronal.
VIEWS = (
    ((0.0, 0.5), (0, 0, -1), (0, 1, 0)),
    ((0.0, 0.0), (-1, 0, 0), (0, 0, 1)),
    ((0.5, 0.0), (0, 1, 0), (0, 0, 1)),
)


def draw(voxels: np.ndarray, segmentation_node: Any, affine: list[list[float]], path: str) -> None:
    """Write the picture as PNG: voxels (I, J, K), a segmentation node on the same grid, IJK-to-RAS matrix."""
    segmentation_node.CreateClosedSurfaceRepresentation()
    surfaces = _surfaces(segmentation_node)
    centre = _centre(surfaces)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(*SIZE)
    for corner, direction, up in VIEWS:
        renderer = _renderer(window, corner)
        renderer.AddViewProp(_slice(voxels, affine, centre, direction))
        for number, surface in enumerate(surfaces):
            renderer.AddActor(_outline(surface, centre, direction, COLOURS[number % len(COLOURS)]))
        _look(renderer, centre, direction, up, parallel=True)
    renderer = _renderer(window, (0.5, 0.5))
    renderer.AddViewProp(_slice(voxels, affine, centre, (-1, 0, 0)))
    for number, surface in enumerate(surfaces):
        renderer.AddActor(_actor(surface, COLOURS[number % len(COLOURS)]))
    _look(renderer, centre, (0.8, 0.45, 0.35), (0, 0, 1), parallel=False)
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    writer = vtk.vtkPNGWriter()
    writer.SetInputConnection(grab.GetOutputPort())
    writer.SetFileName(path)
    writer.Write()


def _surfaces(node: Any) -> list[Any]:
    surfaces = []
    for index in range(node.GetSegmentation().GetNumberOfSegments()):
        surface = vtk.vtkPolyData()
        node.GetClosedSurfaceRepresentation(node.GetSegmentation().GetNthSegmentID(index), surface)
        surfaces.append(surface)
    return [surface for surface in surfaces if surface.GetNumberOfPoints()]


def _centre(surfaces: list[Any]) -> np.ndarray:
    boxes = np.array([surface.GetBounds() for surface in surfaces])
    return np.array([(boxes[:, low].min() + boxes[:, low + 1].max()) / 2 for low in (0, 2, 4)])


def _renderer(window: Any, corner: tuple[float, float]) -> Any:
    renderer = vtk.vtkRenderer()
    renderer.SetViewport(corner[0], corner[1], corner[0] + 0.498, corner[1] + 0.498)
    renderer.SetBackground(0.08, 0.08, 0.10)
    window.AddRenderer(renderer)
    return renderer


def _slice(voxels: np.ndarray, affine: list[list[float]], point: np.ndarray, normal: tuple[float, ...]) -> Any:
    image = vtk.vtkImageData()
    image.SetDimensions(voxels.shape)
    flat = np.ascontiguousarray(voxels.transpose(2, 1, 0), dtype=np.float32).ravel()
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    mapper = vtk.vtkImageResliceMapper()
    mapper.SetInputData(image)
    plane = vtk.vtkPlane()
    plane.SetOrigin(point)
    plane.SetNormal(normal)
    mapper.SetSlicePlane(plane)
    actor = vtk.vtkImageSlice()
    actor.SetMapper(mapper)
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, affine[row][column])
    actor.SetUserMatrix(matrix)
    low, high = np.percentile(voxels, (1, 99))
    actor.GetProperty().SetColorWindow(float(high - low))
    actor.GetProperty().SetColorLevel(float(high + low) / 2)
    return actor


def _outline(surface: Any, point: np.ndarray, normal: tuple[float, ...], colour: tuple[float, ...]) -> Any:
    plane = vtk.vtkPlane()
    plane.SetOrigin(point)
    plane.SetNormal(normal)
    cutter = vtk.vtkCutter()
    cutter.SetInputData(surface)
    cutter.SetCutFunction(plane)
    cutter.Update()
    # A little towards the camera, so that the slice does not hide the line.
    moved = vtk.vtkTransform()
    moved.Translate(*(0.2 * np.asarray(normal, dtype=float)))
    lines = vtk.vtkTransformPolyDataFilter()
    lines.SetInputData(cutter.GetOutput())
    lines.SetTransform(moved)
    lines.Update()
    actor = _actor(lines.GetOutput(), colour)
    actor.GetProperty().SetLineWidth(3)
    actor.GetProperty().LightingOff()
    return actor


def _actor(surface: Any, colour: tuple[float, ...]) -> Any:
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputData(surface)
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*colour)
    return actor


def _look(renderer: Any, centre: np.ndarray, towards: tuple[float, ...], up: tuple[int, ...], parallel: bool) -> None:
    camera = renderer.GetActiveCamera()
    camera.SetParallelProjection(parallel)
    camera.SetFocalPoint(*centre)
    camera.SetPosition(*(centre + 120 * np.asarray(towards, dtype=float)))
    camera.SetViewUp(*up)
    renderer.ResetCamera()
    camera.Zoom(1.35 if parallel else 1.2)
    renderer.ResetCameraClippingRange()
