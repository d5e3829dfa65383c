"""The composition root: which store, engine, base and workspace a command works with. Nothing else knows them all.

Each service is imported when it is first asked for: no command pays for what others need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from packrunner.cli.wiring.accounts import log_in, log_out, logins
    from packrunner.cli.wiring.asking import detect
    from packrunner.cli.wiring.building import build
    from packrunner.cli.wiring.creating import create_builder
    from packrunner.cli.wiring.fetching import fetch_builder, take_builders
    from packrunner.cli.wiring.inspecting import inspect_builder
    from packrunner.cli.wiring.keeping import prune, rebase, rebase_there, update_base
    from packrunner.cli.wiring.locking import lock_builder, update_recipe
    from packrunner.cli.wiring.packaging import look_into, package, validate
    from packrunner.cli.wiring.places import (
        architecture,
        engine,
        extending,
        inline_engine,
        launcher,
        layouts,
        snapshots,
        store,
    )
    from packrunner.cli.wiring.planning import plan
    from packrunner.cli.wiring.registries import registry
    from packrunner.cli.wiring.running import compose, compose_version, develop, run_app
    from packrunner.cli.wiring.transferring import load, look, pull, push, save

__all__ = [
    "architecture",
    "build",
    "compose",
    "compose_version",
    "create_builder",
    "detect",
    "develop",
    "engine",
    "extending",
    "fetch_builder",
    "inline_engine",
    "inspect_builder",
    "launcher",
    "layouts",
    "load",
    "lock_builder",
    "log_in",
    "log_out",
    "logins",
    "look",
    "look_into",
    "package",
    "plan",
    "prune",
    "pull",
    "push",
    "rebase",
    "rebase_there",
    "registry",
    "run_app",
    "save",
    "snapshots",
    "store",
    "take_builders",
    "update_base",
    "update_recipe",
    "validate",
]

_MODULES = {
    "accounts": (
        "log_in",
        "log_out",
        "logins",
    ),
    "asking": ("detect",),
    "building": ("build",),
    "creating": ("create_builder",),
    "fetching": (
        "fetch_builder",
        "take_builders",
    ),
    "inspecting": ("inspect_builder",),
    "keeping": (
        "prune",
        "rebase",
        "rebase_there",
        "update_base",
    ),
    "locking": (
        "lock_builder",
        "update_recipe",
    ),
    "packaging": (
        "look_into",
        "package",
        "validate",
    ),
    "places": (
        "architecture",
        "engine",
        "extending",
        "inline_engine",
        "launcher",
        "layouts",
        "snapshots",
        "store",
    ),
    "planning": ("plan",),
    "registries": ("registry",),
    "running": (
        "compose",
        "compose_version",
        "develop",
        "run_app",
    ),
    "transferring": (
        "load",
        "look",
        "pull",
        "push",
        "save",
    ),
}


def __getattr__(name: str) -> Any:
    for module, services in _MODULES.items():
        if name in services:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
