"""Go for tests that compile: the developer's own, else that of the virtual environment, which compiles the launcher."""

from __future__ import annotations

import os
import shutil
import sys

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)))
GO = shutil.which("go", path=PATH)
