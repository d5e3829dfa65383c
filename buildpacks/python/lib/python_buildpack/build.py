"""bin/build: packages into the layer `dependencies`, then the process `web`.

The application itself stays where it is, so that editing it never touches a layer of this buildpack.
"""

from __future__ import annotations

import os
import sys

from packrunner.sdk.report import Failure, say, warn

from . import development, settings
from .install import Installer, make_environment, package_count, packages_dir, python_version
from .requirements import NAME, Requirements
from .start import Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packrunner.sdk.build import Build
    from packrunner.sdk.layers import Layer

_FORMAT = "1"
"""Raised when this buildpack fills the layer in another way, so that old layers are not reused."""

_EXPORTS = (
    ("uv.lock", f"uv export --frozen --no-dev --no-emit-project -o {NAME}"),
    ("poetry.lock", f"poetry export -o {NAME}"),
    ("pdm.lock", f"pdm export --prod -o {NAME}"),
    ("Pipfile.lock", f"pipenv requirements --hash > {NAME}"),
    ("pylock.toml", f"uv pip compile --generate-hashes pyproject.toml -o {NAME}"),
    ("Pipfile", f"pipenv lock && pipenv requirements --hash > {NAME}"),
    ("pyproject.toml", f"uv pip compile --generate-hashes pyproject.toml -o {NAME}"),
    ("setup.py", f"uv pip compile --generate-hashes setup.py -o {NAME}"),
)
"""What this version cannot install by itself, and the command that makes a requirements.txt of it."""


def build(context: Build) -> None:
    """Install what requirements.txt names, unless the last build's layer has it, and find the start command."""
    settings.check(context.platform_dir)
    requirements = _requirements(context.app_dir)
    _check_version(context.app_dir)
    _warn_of_environments(context.app_dir)
    start = Start(context)
    start.check()
    layer = context.layer("dependencies", launch=True, build=True, cache=True)
    _fill(context, layer, requirements)
    start.declare(os.path.join(layer.path, "bin"), _installed(layer.path))


def _requirements(app_dir: str) -> Requirements:
    others = [(name, command) for name, command in _EXPORTS if os.path.isfile(os.path.join(app_dir, name))]
    if os.path.isfile(os.path.join(app_dir, NAME)):
        locks = [name for name, _ in others if name.endswith((".lock", "pylock.toml"))]
        if locks:
            say(f"note: {' and '.join(locks)} is not read; {NAME} is what is installed")
        return Requirements(app_dir)
    names = [name for name, _ in others]
    raise Failure(
        f"cannot install from {' or '.join(names) or 'nothing'} yet, only from {NAME}",
        at=names[0] if names else "",
        tries=tuple(command for _, command in others[:2]),
    )


def _fill(context: Build, layer: Layer, requirements: Requirements) -> None:
    installer = Installer(context, settings.installer()) if not requirements.empty else None
    digest = requirements.digest()
    key = {
        "format": _FORMAT,
        "python": python_version(),
        "arch": context.target.arch,
        "distribution": context.target.distribution,
        NAME: digest,
    }
    if context.exec_env == development.NAME:
        key["for"] = development.NAME
    if installer:
        from packrunner.sdk.digest import sha256

        settings_digest = sha256()
        settings_digest.update(settings.influential(os.environ).encode("utf-8", "surrogateescape"))
        key |= {"installer": installer.label, "settings": settings_digest.hexdigest()}
    if layer.reuse(key, source=NAME):
        if installer:
            installer.keep()
        return
    if installer:
        installer.install(layer, requirements)
    else:
        make_environment(context, layer.path)
    count = package_count(layer.path)
    layer.describe(f"{count} package{'' if count == 1 else 's'}")
    _set_variables(layer)
    if context.exec_env == development.NAME:
        for name, value in development.VARIABLES.items():
            layer.env(name, value, "default", at="launch")


def _set_variables(layer: Layer) -> None:
    layer.env("VIRTUAL_ENV", layer.path)
    # Output must be there when the process is killed.
    layer.env("PYTHONUNBUFFERED", "1", "default", at="launch")
    layer.env("PORT", "8080", "default", at="launch")


def _installed(path: str) -> set[str]:
    """The names that can be imported from a virtual environment."""
    return {name.removesuffix(".py") for name in os.listdir(packages_dir(path))}


def _check_version(app_dir: str) -> None:
    """Say when the application asks for a Python that is not the one here."""
    for origin, wanted in _wishes(app_dir):
        parts = wanted.removeprefix("python-").removeprefix("~=").removeprefix("==").strip().split(".")[:2]
        numbers = [int(part) for part in parts if part.isdigit()]
        if not numbers or numbers == list(sys.version_info[: len(numbers)]):
            return
        text = f"{origin} asks for Python {wanted}, and this builder has {python_version()}"
        if origin.startswith("BP_"):
            raise Failure(text, tries=(f"leave {origin} out, or choose a builder with that version",))
        warn(f"{text}, which is used", hint=f"write {sys.version_info[0]}.{sys.version_info[1]} into {origin}")
        return


def _wishes(app_dir: str) -> list[tuple[str, str]]:
    """(origin, version) of the settings and files that name a version, the strongest first."""
    setting = os.environ.get("BP_CPYTHON_VERSION", "").strip()
    wishes = [("BP_CPYTHON_VERSION", setting)] if setting else []
    for name in (".python-version", "runtime.txt"):
        try:
            with open(os.path.join(app_dir, name), encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file]
        except FileNotFoundError:
            continue
        wishes += [(name, line) for line in lines[:20] if line and not line.startswith("#")][:1]
    return wishes


def _warn_of_environments(app_dir: str) -> None:
    for name in (".venv", "venv", "env", ".env"):
        if os.path.isfile(os.path.join(app_dir, name, "pyvenv.cfg")):
            warn(
                f"{name} is a virtual environment of another machine: it is not used, and only makes the image larger",
                hint=f'in project.toml: [io.buildpacks] exclude = ["{name}/"]',
            )
