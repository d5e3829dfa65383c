"""The cache of the phases: an image, else a directory, else none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packrunner.lifecycle.carry import OutsideCache
    from packrunner.lifecycle.phases.setting import Setting
    from packrunner.lifecycle.repository import Repository


def opened(setting: Setting, images: Repository | None) -> OutsideCache | None:
    """The cache that the platform names; an image comes before a directory, as in the reference."""
    if setting.cache_image and images:
        from packrunner.lifecycle.cache_image import CacheImage

        return CacheImage(setting.cache_image, images)
    if setting.cache_dir:
        from packrunner.lifecycle.cache_dir import CacheDirectory

        return CacheDirectory(setting.cache_dir)
    return None
