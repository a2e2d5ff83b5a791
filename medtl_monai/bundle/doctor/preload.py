"""Imported once by the server that children are forked from: whatever every one of them would import anew."""

from __future__ import annotations

import atexit
import gc

import fire  # noqa: F401
import monai.bundle.scripts
import monai.engines
import monai.handlers  # noqa: F401
import nibabel  # noqa: F401
from monai.bundle.config_item import ComponentLocator

import medtl_monai.bundle.doctor.deploy
import medtl_monai.bundle.doctor.objects  # noqa: F401

# Looking up one name makes MONAI import all its modules, which it would do again in each child.
ComponentLocator().get_component_module_name("UNet")

# A collection in a child would walk, and so copy, all of the server's memory: most of the time that short rows took.
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)  # extension modules would report what is not freed at the server's end as leaks
