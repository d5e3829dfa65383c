"""httpx without its own command line, which would bring rich and click along: a third of the time of its import.

httpx itself does without where these are not installed.
"""

from __future__ import annotations

import sys
from typing import Any, cast

_OWN_COMMAND = "httpx._main"
_modules = cast("dict[str, Any]", sys.modules)
_fresh = _OWN_COMMAND not in _modules
if _fresh:
    _modules[_OWN_COMMAND] = None  # its import then fails as for a module that is not there

import httpx  # noqa: E402 - what this module is for

if _fresh:
    del _modules[_OWN_COMMAND]

__all__ = ["httpx"]
