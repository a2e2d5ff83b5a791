"""MONAI Label's web application, closed to scripts of other web sites.

MONAI Label answers every origin (``Access-Control-Allow-Origin: *``) unless it is told some; then any page that is open
in a browser on this machine could read the scans. Its setting for that cannot be given from outside: 0.8.5 fails to
print it when it starts. So it is set here, before the application is made.
"""

from __future__ import annotations

import importlib
import os

from monailabel.config import settings

OWN_ORIGIN = f"http://127.0.0.1:{os.environ.get('MONAI_LABEL_SERVER_PORT', '8000')}"
settings.MONAI_LABEL_CORS_ORIGINS = [OWN_ORIGIN]
app = importlib.import_module("monailabel.app").app
