"""A registry on loopback, for pushes: Debian's docker-registry, empty whenever that is wanted."""

from __future__ import annotations

import shutil

from tests.services import RegistryService


class LocalRegistry(RegistryService):
    """A registry at `host`, its images below `root`."""

    def clear(self, *caches: str) -> None:
        """Forget all images, and what else may save somebody work."""
        for path in (str(self.root / "data"), *caches):
            shutil.rmtree(path, ignore_errors=True)
