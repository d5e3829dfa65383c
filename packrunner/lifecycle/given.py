"""What a build is given: the command line as it was typed, and what project.toml says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packrunner.formats.project_members import Member


class ProjectSettings(Protocol):
    """What a build takes from project.toml (formats/project.py)."""

    @property
    def builder(self) -> str:
        """The builder; empty when not given."""

    @property
    def include(self) -> Sequence[str]:
        """Patterns of the only files to take; empty for all."""

    @property
    def exclude(self) -> Sequence[str]:
        """Patterns of files to leave out."""

    @property
    def group(self) -> Sequence[Member]:
        """Buildpacks in place of the builder's order."""

    @property
    def pre(self) -> Sequence[Member]:
        """Buildpacks before each group of it."""

    @property
    def post(self) -> Sequence[Member]:
        """Buildpacks after each group of it."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the project label says of the source."""

    @property
    def unknown(self) -> Sequence[str]:
        """Keys that mean nothing."""

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences about the file."""

    def variables(self, exec_env: str = "production") -> Mapping[str, str]:
        """Variables for buildpacks."""


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The command line as typed; what was not typed is None, empty, False or 0. Files named on it are read already."""

    cwd: str
    image: str | None = None
    path: str | None = None
    project: str | None = None
    builder: str | None = None
    buildpacks: tuple[str, ...] = ()
    bindings: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    env_files: tuple[tuple[str, str], ...] = ()
    """(path, text) of --env-file."""
    outputs: tuple[str, ...] = ()
    run_image: str | None = None
    clear_cache: bool = False
    rebuild: bool = False
    network: str | None = None
    engine: str | None = None
    docker_host: str | None = None
    tags: tuple[str, ...] = ()
    push: bool = False
    load: bool = False
    compression: str | None = None
    insecure: tuple[str, ...] = ()
    pull_policy: str | None = None
    previous: str | None = None
    caches: tuple[str, ...] = ()
    cache_image: str | None = None
    platform: str | None = None
    created: str | None = None
    process: str | None = None
    exec_env: str | None = None
    app_dir: str | None = None
    uid: int | None = None
    gid: int | None = None
    volumes: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    without_system: bool = False
    sbom_dir: str | None = None
    report_dir: str | None = None
    ca_certs: tuple[str, ...] = ()
    offline: bool = False
    idle: tuple[str, ...] = ()
    """Flags of pack that were given and have no effect here."""
    quiet: int = 0
    verbose: int = 0
    progress: str | None = None
    color: str | None = None
