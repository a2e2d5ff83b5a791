"""Transfer learning for CT and MRI on MONAI.

Importing the package is cheap: torch and MONAI are imported by the modules that need them, not here.
"""

__version__ = "0.1.0"
