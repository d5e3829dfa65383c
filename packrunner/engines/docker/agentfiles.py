"""The agent and the host's CA bundle in the engine: a volume that is filled once and then only read.

That it was filled is noted here. Where it has been removed meanwhile, the engine makes an empty one of its name, and
the container does not start: then it is filled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
from typing import TYPE_CHECKING

from packrunner.confined import write_atomic
from packrunner.engines.docker.container import RUN_DIRECTORY, Volume, agent_volume
from packrunner.engines.skeleton import AGENT

if TYPE_CHECKING:
    from collections.abc import Mapping


class AgentFiles:
    """What the directory of the agent holds; `state` has the notes, `host` is which engine they are of."""

    def __init__(self, agent: str, files: Mapping[str, bytes], *, state: str, host: str) -> None:
        self._agent = agent
        self._files = files
        found = os.stat(agent)
        digest = hashlib.sha256(f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}".encode())
        for path in sorted(files):
            digest.update(b"\0" + os.fsencode(path) + b"\0" + hashlib.sha256(files[path]).digest())
        self._content = digest.hexdigest()
        noted = hashlib.sha256(f"{host}\0{self._content}".encode()).hexdigest()[:24]
        self._note = os.path.join(state, f"filled-{noted}")

    @property
    def are_there(self) -> bool:
        """Whether the volume was filled, as far as is known."""
        return os.path.exists(self._note)

    @property
    def volume(self) -> Volume:
        """The volume: read-only, unless it has to be filled."""
        return agent_volume(self._content, read_only=self.are_there)

    def note(self, *, filled: bool) -> None:
        """Remember that the volume was filled, or that it is not any more."""
        if filled:
            write_atomic(self._note, b"")
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._note)

    def archive(self) -> bytes:
        """What goes into the volume, as root's."""
        with open(self._agent, "rb") as file:
            agent = file.read()
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path, content in ((AGENT, agent), *self._files.items()):
                entry = tarfile.TarInfo(os.path.relpath(path, RUN_DIRECTORY))
                entry.size, entry.mode = len(content), 0o755 if path == AGENT else 0o644
                archive.addfile(entry, io.BytesIO(content))
        return made.getvalue()
