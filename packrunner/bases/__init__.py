"""Base images made from Debian packages: no registry, no daemon, no root, no dpkg."""

from packrunner.bases.base import Base, BaseSettings, open_base
from packrunner.bases.lock import lock_path
from packrunner.bases.recipes import DEFAULT_REFERENCE, SUITES, VARIANTS, Variant, parse_reference

__all__ = [
    "DEFAULT_REFERENCE",
    "SUITES",
    "VARIANTS",
    "Base",
    "BaseSettings",
    "Variant",
    "lock_path",
    "open_base",
    "parse_reference",
]
