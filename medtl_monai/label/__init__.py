"""MONAI Label and 3D Slicer: an environment that works, an app folder, additions to MONAI Label's bundle app."""
