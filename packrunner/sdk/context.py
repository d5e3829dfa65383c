"""What bin/detect and bin/build both know: the application, the target, and what the user said (DET-03 - DET-09)."""

from __future__ import annotations

import os

from . import toml
from .report import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .bindings import Binding

_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off", "")


class Target:
    """The machine that the image is for; what a platform does not tell is empty."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.os = env.get("CNB_TARGET_OS", "linux")
        self.arch = env.get("CNB_TARGET_ARCH", "")
        self.variant = env.get("CNB_TARGET_ARCH_VARIANT", "")
        self.distro = env.get("CNB_TARGET_DISTRO_NAME", "")
        self.distro_version = env.get("CNB_TARGET_DISTRO_VERSION", "")

    @property
    def platform(self) -> str:
        """As images are told apart: `linux/arm64/v8`."""
        return "/".join(filter(None, (self.os, self.arch, self.variant)))

    @property
    def distribution(self) -> str:
        """What compiled code fits: `debian 13`; for the keys of layers."""
        return f"{self.distro} {self.distro_version}".strip()


class Context:
    """What is known in both programs; `Detect` and `Build` add what each can do."""

    def __init__(self) -> None:
        env = os.environ
        self.app_dir = os.getcwd()
        self.buildpack_dir = env["CNB_BUILDPACK_DIR"]
        self.platform_dir = env["CNB_PLATFORM_DIR"]
        self.exec_env = env.get("CNB_EXEC_ENV", "production")
        self.target = Target(env)
        self._descriptor: dict[str, object] | None = None
        self._bindings: list[Binding] | None = None

    @property
    def development(self) -> bool:
        """Whether the image is for developing the application, which changes while it runs."""
        return self.exec_env == "development"

    def path(self, name: str) -> str:
        """The absolute path of something in the application."""
        return os.path.join(self.app_dir, name)

    def has(self, name: str) -> bool:
        """Whether the application has something of this name."""
        return os.path.exists(self.path(name))

    @property
    def user_env(self) -> dict[str, str]:
        """The user's variables: the files of `<platform>/env`, also for a buildpack with `clear-env` (DET-08)."""
        directory = os.path.join(self.platform_dir, "env")
        found = {}
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    found[name] = os.fsdecode(file.read())
        return found

    def setting(self, name: str, default: str = "", *, options: Sequence[str] = ()) -> str:
        """What the user, or else the environment, says for a variable; `default` for nothing, and for an empty value.

        Raises Failure for what is not among the `options`.
        """
        try:
            with open(os.path.join(self.platform_dir, "env", name), "rb") as file:
                value = os.fsdecode(file.read()).strip()
        except FileNotFoundError:
            value = os.environ.get(name, "").strip()
        if value and options and value not in options:
            raise Failure(f"does not know {name}={value}", at=name, tries=(f"{name} is one of {', '.join(options)}",))
        return value or default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A setting that is true or false; raises Failure for anything else."""
        value = self.setting(name, "true" if default else "").lower()
        if value not in (*_YES, *_NO):
            raise Failure(f"does not know {name}={value}", at=name, tries=(f"{name} is true or false",))
        return value in _YES

    def bindings(self, kind: str = "", *, provider: str = "") -> list[Binding]:
        """The user's bindings of a type, and maybe of a provider, by name; case does not matter in either."""
        from .bindings import read

        if self._bindings is None:
            root = os.environ.get("SERVICE_BINDING_ROOT") or os.path.join(self.platform_dir, "bindings")
            self._bindings = read(root)
        return [one for one in self._bindings if one.fits(kind, provider)]

    def binding(self, kind: str, *, provider: str = "") -> Binding | None:
        """The one binding of a type, or None; raises Failure for several, which leave open what is meant."""
        found = self.bindings(kind, provider=provider)
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise Failure(f"found {len(found)} bindings of the type {kind}: {names}", tries=("leave one of them",))
        return found[0] if found else None

    @property
    def descriptor(self) -> Mapping[str, object]:
        """The buildpack's own buildpack.toml; reading it takes as long as starting the interpreter."""
        if self._descriptor is None:
            self._descriptor = toml.read(os.path.join(self.buildpack_dir, "buildpack.toml"))
        return self._descriptor

    def about(self, key: str) -> str:
        """A text of buildpack.toml's table `[buildpack]`: id, version, name..."""
        table = self.descriptor.get("buildpack")
        return str(table.get(key, "")) if isinstance(table, dict) else ""
