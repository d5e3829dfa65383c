"""The engine `docker`: one container for each sandbox, its first process our agent, driven through the docker SDK."""

from __future__ import annotations

from packrunner.engines.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
