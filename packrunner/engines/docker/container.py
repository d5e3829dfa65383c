"""What a build's container is: pure functions from a sandbox's specification to the Docker API's words.

    what is shown          inside it is          filled by
    writable mount         a volume, kept        the agent, with what differs from the host's directory
    overlay                a volume, kept        the same, with the lower tree less what the upper one hides
    mount of known content a volume, kept        the agent, as root, once; its mark says what it holds
    other mount            memory                the agent, as root, each time: variables and bindings are on no disk
    the agent, CA bundle   a volume, kept        a tar stream into a container before its start, once

Nothing is bound from the engine's host, which may be another machine than this one.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from packrunner.engines.skeleton import AGENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.engines.base import SandboxSpec

LABEL = "io.packrunner."
RUN_DIRECTORY = os.path.dirname(AGENT)
TEMPORARY = "/tmp"  # noqa: S108 - memory of the container's own
HOSTNAME = "packrunner"

# What the agent needs to give volumes to the build's user and to become that user for good; it keeps none of them.
_RIGHTS = ("CHOWN", "SETGID", "SETPCAP", "SETUID")
_SHARED_MEMORY = 256 << 20
_PROCESSES = 32_768


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A named volume and where it is shown."""

    name: str
    target: str
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    read_only: bool = False


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose containers are whose: a machine (and namespace), a process of it and when that was started."""

    machine: str
    pid: int
    started: str

    def labels(self) -> dict[str, str]:
        """As labels of a container."""
        return {
            f"{LABEL}machine": self.machine,
            f"{LABEL}pid": str(self.pid),
            f"{LABEL}started": self.started,
        }


def volumes(spec: SandboxSpec, machine: str) -> tuple[Volume, ...]:
    """The volumes that outlive the container, one for each writable place and for each one of known content."""
    found = []
    for mount in spec.mounts:
        if mount.writable:
            found.append(_volume("work", machine, mount.source, mount.target))
        elif mount.content:
            found.append(_volume("content", mount.content, "", mount.target))
    found += [_volume("work", machine, overlay.lower, overlay.target) for overlay in spec.overlays]
    return tuple(found)


def agent_volume(content: str, *, read_only: bool) -> Volume:
    """The volume that holds what the agent's directory does, which `content` stands for."""
    return msgspec.structs.replace(_volume("agent", content, "", RUN_DIRECTORY), read_only=read_only)


def _volume(kind: str, scope: str, source: str, target: str) -> Volume:
    key = hashlib.sha256(f"{kind}\0{scope}\0{source}\0{target}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    labels = {f"{LABEL}volume": kind, f"{LABEL}target": target}
    if kind == "work":
        labels |= {f"{LABEL}machine": scope, f"{LABEL}source": hashlib.sha256(os.fsencode(source)).hexdigest()}
    return Volume(name=f"packrunner-{kind}-{key}", target=target, labels=labels)


def memory(spec: SandboxSpec) -> dict[str, str]:
    """Places in memory, with their mount options: empty at first, gone with the container."""
    places = {TEMPORARY: "rw,exec,nosuid,nodev,mode=1777"}
    home, targets = spec.user.home, [mount.target for mount in spec.mounts] + [over.target for over in spec.overlays]
    inside = any(home == target or home.startswith(f"{target}/") for target in targets)
    if home not in {"/", TEMPORARY} and not inside:
        places[home] = "rw,exec,nosuid,nodev,mode=0777"
    for mount in spec.mounts:
        if not mount.writable and not mount.content:
            places[mount.target] = "rw,exec,nosuid,nodev,mode=0755"
    return places


def container_config(
    spec: SandboxSpec, *, image: str, volumes: tuple[Volume, ...], labels: Mapping[str, str], network: str
) -> dict[str, Any]:
    """The body of the request that makes the container; `network` is one of the engine's, "" for its usual one.

    The first process is the agent, root until it has set out what is only read; then it is the image's user for good.
    """
    return {
        "Image": image,
        "Entrypoint": [AGENT, "serve", "--uid", str(spec.user.uid), "--gid", str(spec.user.gid), "--drop", "--prepare"],
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Hostname": "" if network == "host" else HOSTNAME,
        "Labels": dict(labels),
        "ExposedPorts": {f"{inner}/tcp": {} for _, inner in spec.publish},
        "OpenStdin": True,
        # With the connection the agent's input ends, and with that the container: also when we are killed.
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "ReadonlyRootfs": not spec.scratch,
            "CapDrop": ["ALL"],
            "CapAdd": list(_RIGHTS),
            "SecurityOpt": ["no-new-privileges"],
            "Privileged": False,
            "NetworkMode": "none" if spec.network == "none" else network or "default",
            "IpcMode": "private",
            "ShmSize": _SHARED_MEMORY,
            "PidsLimit": _PROCESSES,
            "Tmpfs": memory(spec),
            "PortBindings": {
                f"{inner}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(outer)}] for outer, inner in spec.publish
            },
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": volume.name,
                    "Target": volume.target,
                    "ReadOnly": volume.read_only,
                    # Else an image's own files at this place would be copied in.
                    "VolumeOptions": {"NoCopy": True, "Labels": dict(volume.labels)},
                }
                for volume in volumes
            ],
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        },
    }
