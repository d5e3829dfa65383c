"""The composition root: which store, engine, base and workspace a command works with. Nothing else knows them all."""

from packrunner.cli.wiring.accounts import log_in, log_out, logins
from packrunner.cli.wiring.building import build, detect
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
