"""Builder images on any base image, in the label and file shapes that are met: each function is one kind of builder.

The buildpacks are shell scripts named for what they do. Nothing here runs anything.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

from packrunner.images.image import Image
from packrunner.images.layer import Dir, File, Link, Part, write_layer
from packrunner.names import BuildpackId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packrunner.images.store import LocalStore

RUN_IMAGE = "registry.example.com/acme/run:1"
MIRROR = "mirror.example.com/acme/run:1"
USER = (1002, 1003)
SAYS = """\
#!/bin/sh
set -e
echo "{id}: $(id -u):$(id -g) home=$HOME stack=$CNB_STACK_ID operator=$OPERATOR target=$CNB_TARGET_DISTRO_NAME"
mkdir -p "$1/tool/bin"
echo "{id}@{version} $(cat file)" > "$1/tool/made"
printf '[types]\\nlaunch = true\\n' > "$1/tool.toml"
cat > "$1/launch.toml" <<X
[[processes]]
type = "web"
command = {command}
default = true
X
"""
LIST = '["/bin/sh", "-c", "cat /layers/*/tool/made; id -u"]'
STRING = '"cat /layers/*/tool/made; id -u"'
PASSES = "#!/bin/sh\nexit 0\n"
FAILS = "#!/bin/sh\necho 'no reason at all'\nexit 100\n"


class Buildpack(msgspec.Struct, frozen=True, kw_only=True):
    """One buildpack of a builder; with `order` a composite."""

    id: str
    version: str = "1.0.0"
    api: str = "0.8"
    detect: str = PASSES
    build: str = SAYS
    order: tuple[tuple[str, ...], ...] = ()
    stacks: tuple[dict[str, Any], ...] = ()
    targets: tuple[dict[str, Any], ...] = ()

    @property
    def directory(self) -> str:
        """Where it is in the builder."""
        return f"/cnb/buildpacks/{BuildpackId(self.id).escaped}/{self.version}"

    def descriptor(self) -> dict[str, Any]:
        """Its buildpack.toml."""
        table: dict[str, Any] = {"api": self.api, "buildpack": {"id": self.id, "version": self.version}}
        if self.order:
            table["order"] = groups(self.order)
        if self.stacks:
            table["stacks"] = list(self.stacks)
        if self.targets:
            table["targets"] = list(self.targets)
        return table

    def parts(self) -> list[Part]:
        """Its files, as pack lays them out."""
        above = self.directory.rpartition("/")[0]
        parts: list[Part] = [Dir(target=above), Dir(target=self.directory)]
        parts.append(toml(f"{self.directory}/buildpack.toml", self.descriptor()))
        if not self.order:
            parts.append(Dir(target=f"{self.directory}/bin"))
            for name, text in (("build", self.build), ("detect", self.detect)):
                data = script(text, self.id, self.version, self.api).encode()
                parts.append(File(target=f"{self.directory}/bin/{name}", data=data, mode=0o755))
        return parts


def script(text: str, identity: str, version: str, api: str) -> str:
    """A program with the buildpack's name in it; before API 0.9 a process is a line for the shell (BLD-11)."""
    command = STRING if api in {"0.7", "0.8"} else LIST
    return text.replace("{id}", identity).replace("{version}", version).replace("{command}", command)


def groups(order: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """An order as files and labels have it, from lists of id, id@version, with a `?` behind what is optional."""
    found = []
    for group in order:
        refs = []
        for text in group:
            identity, _, version = text.rstrip("?").partition("@")
            ref: dict[str, Any] = {"id": identity}
            if version:
                ref["version"] = version
            if text.endswith("?"):
                ref["optional"] = True
            refs.append(ref)
        found.append({"group": refs})
    return found


def toml(target: str, table: dict[str, Any]) -> File:
    """A TOML file."""
    return File(target=target, data=tomli_w.dumps(table).encode())


def tiny_base(store: LocalStore, **labels: str) -> Image:
    """An image of a few text files: enough for everything that runs nothing."""
    parts: list[Part] = [
        Dir(target="/etc"),
        File(target="/etc/passwd", data=b"root:x:0:0::/root:/bin/sh\ntheirs:x:1002:1003::/srv/theirs:/bin/sh\n"),
        Dir(target="/usr/lib"),
        File(target="/usr/lib/os-release", data=b'ID=ubuntu\nVERSION_ID="24.04"\n'),
    ]
    parts.append(Link(target="/etc/os-release", to="../usr/lib/os-release"))
    return on(store, Image(env=(("PATH", "/usr/bin:/bin"),), labels=labels), [parts])


def on(store: LocalStore, image: Image, layers: Sequence[Sequence[Part]]) -> Image:
    """The image with layers on top, each of some parts."""
    for parts in layers:
        image = image.with_layers(write_layer(store, sorted(parts, key=lambda p: p.target), created_by="test").layer)
    return image


def build_image(store: LocalStore, base: Image, user: tuple[int, int] = USER, **env: str) -> Image:
    """A base with the user of a build image (IMG-01) and the directories that pack makes (IMG-12)."""
    uid, gid = user
    image = base.with_user(f"{uid}:{gid}")
    for name, value in {"CNB_USER_ID": str(uid), "CNB_GROUP_ID": str(gid), **env}.items():
        image = image.with_env(name, value)
    parts = [Dir(target=target) for target in ("/cnb", "/cnb/buildpacks", "/cnb/extensions", "/platform")]
    own = [Dir(target=target, uid=uid, gid=gid) for target in ("/layers", "/workspace")]
    return on(store, image, [[*parts, *own]])


def metadata(buildpacks: Sequence[Buildpack], **changes: Any) -> dict[str, Any]:
    """io.buildpacks.builder.metadata as pack 0.37 writes it: empty lists are null."""
    return {
        "description": "a builder for tests",
        "buildpacks": [{"id": b.id, "version": b.version, "homepage": "https://example.com"} for b in buildpacks]
        or None,
        "extensions": None,
        "stack": {"runImage": {"image": "", "mirrors": None}},
        "images": [{"image": RUN_IMAGE, "mirrors": [MIRROR]}],
        "lifecycle": {
            "version": "0.20.4",
            "api": {"buildpack": "0.2", "platform": "0.3"},
            "apis": {
                "buildpack": {"deprecated": None, "supported": ["0.7", "0.8", "0.9", "0.10", "0.11"]},
                "platform": {"deprecated": None, "supported": ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13"]},
            },
        },
        "createdBy": {"name": "Pack CLI", "version": "0.36.0"},
        **changes,
    }


def layers_label(buildpacks: Sequence[Buildpack]) -> dict[str, Any]:
    """io.buildpacks.buildpack.layers (IMG-11)."""
    found: dict[str, Any] = {}
    for b in buildpacks:
        found.setdefault(b.id, {})[b.version] = {"api": b.api, "layerDiffID": "sha256:" + "0" * 64}
    return found


def pack_made(
    store: LocalStore,
    base: Image,
    buildpacks: Sequence[Buildpack],
    order: Sequence[Sequence[str]],
    *,
    files: Sequence[Part] = (),
    label: dict[str, Any] | None = None,
    user: tuple[int, int] = USER,
    **env: str,
) -> Image:
    """What `pack builder create` makes: a layer for each buildpack, order.toml, run.toml, stack.toml, all labels."""
    described = label or metadata(buildpacks)
    config: list[Part] = [
        toml("/cnb/order.toml", {"order": groups(order)}),
        toml("/cnb/run.toml", {"images": [{"image": RUN_IMAGE, "mirrors": [MIRROR]}]}),
        toml("/cnb/stack.toml", {"run-image": {"image": RUN_IMAGE}}),
        *files,
    ]
    image = on(store, build_image(store, base, user, **env), [*(b.parts() for b in buildpacks), config])
    return image.with_labels(
        {
            "io.buildpacks.builder.metadata": json.dumps(described),
            "io.buildpacks.buildpack.order": json.dumps(groups(order)),
            "io.buildpacks.buildpack.layers": json.dumps(layers_label(buildpacks)),
            "io.buildpacks.buildpack.order-extensions": "null",
            "io.buildpacks.extension.layers": "{}",
            "io.buildpacks.stack.mixins": "null",
        }
    )


def paketo_like(store: LocalStore, base: Image) -> Image:
    """Composites of buildpacks with targets, an optional member, a stack id that only buildpacks of old look at."""
    targets = ({"os": "linux", "arch": "amd64"}, {"os": "linux", "arch": "arm64"})
    members = [
        Buildpack(id="paketo-like/ca-certificates", version="3.9.0", api="0.7", detect=FAILS, stacks=({"id": "*"},)),
        Buildpack(id="paketo-like/cpython", version="1.13.1", api="0.8", targets=targets),
        Buildpack(
            id="paketo-like/python",
            version="2.20.0",
            order=(("paketo-like/ca-certificates@3.9.0?", "paketo-like/cpython@1.13.1"),),
        ),
    ]
    return pack_made(
        store, base, members, [["paketo-like/python@2.20.0"]], CNB_STACK_ID="io.buildpacks.stacks.noble"
    ).with_labels({"io.buildpacks.stack.id": "io.buildpacks.stacks.noble"})


def heroku_like(store: LocalStore, base: Image) -> Image:
    """All buildpacks in one layer, system buildpacks and operator's variables, a user of its own number."""
    members = [Buildpack(id="heroku-like/say"), Buildpack(id="heroku-like/always", api="0.10")]
    files = [
        *(part for b in members for part in b.parts()),
        Dir(target="/cnb/build-config"),
        Dir(target="/cnb/build-config/env"),
        File(target="/cnb/build-config/env/OPERATOR", data=b"of the builder"),
    ]
    supported = {"buildpack": {"supported": ["0.10"]}, "platform": {"supported": ["0.14", "0.15"]}}
    # Older packs name the default run image here too.
    stack = {"runImage": {"image": RUN_IMAGE, "mirrors": [MIRROR]}}
    label = metadata(members, stack=stack, lifecycle={"version": "0.21.0", "apis": supported})
    image = pack_made(store, base, [], [["heroku-like/say"]], files=files, label=label)
    system = {"pre": {"buildpacks": None}, "post": {"buildpacks": groups([["heroku-like/always@1.0.0"]])[0]["group"]}}
    return image.with_labels({"io.buildpacks.buildpack.system": json.dumps(system)})


def old(store: LocalStore, base: Image) -> Image:
    """A builder of 2020: no run.toml, no `images`, one Platform API, stack and mixins in labels."""
    stack = "io.buildpacks.stacks.bionic"
    buildpack = Buildpack(id="old/say", api="0.7", stacks=({"id": stack, "mixins": ["libpq"]},))
    config: list[Part] = [
        toml("/cnb/order.toml", {"order": groups([["old/say"]])}),
        toml("/cnb/stack.toml", {"run-image": {"image": RUN_IMAGE, "mirrors": [MIRROR]}}),
    ]
    image = on(store, build_image(store, base, CNB_STACK_ID=stack), [buildpack.parts(), config])
    label = {
        "description": "",
        "buildpacks": [{"id": "old/say", "version": "1.0.0"}],
        "stack": {"runImage": {"image": RUN_IMAGE, "mirrors": [MIRROR]}},
        "lifecycle": {"version": "0.13.0", "api": {"buildpack": "0.7", "platform": "0.8"}},
    }
    return image.with_labels(
        {
            "io.buildpacks.builder.metadata": json.dumps(label),
            "io.buildpacks.stack.id": stack,
            "io.buildpacks.stack.mixins": json.dumps(["libpq", "build:make"]),
        }
    )
