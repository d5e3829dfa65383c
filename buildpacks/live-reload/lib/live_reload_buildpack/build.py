"""bin/build: the supervisor, the merged sync rules, and `tar` and `rm` for tools that bring files by them."""

from __future__ import annotations

import os
import shutil

from packrunner.sdk.digest import sha256
from packrunner.sdk.report import Failure, warn
from packrunner.sdk.sync import LABEL, PLAN_ENTRY, merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packrunner.sdk.build import Build
    from packrunner.sdk.layers import Layer

_TOOLS = ("tar", "rm")
"""Process types, because /cnb/process is in front of PATH: the image may have neither, nor a shell."""


def build(context: Build) -> None:
    """Put the reloader and the rules into a layer that later buildpacks see, and the rules into labels."""
    stated = [e["metadata"] for e in context.entries() if e.get("name") == PLAN_ENTRY and e.get("metadata")]
    rules, warnings = merge([one for one in stated if isinstance(one, dict)], workspace=context.app_dir)
    for warning in warnings:
        warn(warning)
    text = _json(rules)
    layer = context.layer("reloader", launch=True, build=True, cache=True)
    reloader = _fill(context, layer, text)
    layer.env("PACKRUNNER_RELOADER", reloader, at="build")
    for tool in _TOOLS:
        context.process(tool, [reloader, tool])
    context.label(LABEL, text)
    for name in rules["buildpacks"]:
        own = [rule for rule in rules["rules"] if rule["buildpack"] == name]
        one = {"buildpack": name, "version": rules["buildpacks"][name], "rules": own}
        context.label(f"{LABEL}.{name}", _json(one))
    count = sum(bool(rule["buildpack"]) for rule in rules["rules"])
    context.step = f"{count} {'rule' if count == 1 else 'rules'} from {', '.join(rules['buildpacks']) or 'nobody'}"


def _fill(context: Build, layer: Layer, rules: str) -> str:
    source = os.path.join(context.buildpack_dir, f"lib/packrunner/bin/linux-{context.target.arch}/reloader")
    try:
        with open(source, "rb") as file:
            program = file.read()
    except FileNotFoundError as e:
        raise Failure(
            f"has no program for {context.target.platform}",
            tries=("a packrunner that was installed from its wheel has those for amd64 and arm64",),
        ) from e
    target = os.path.join(layer.path, "bin/reloader")
    key = {"reloader": _digest(program), "rules": _digest(rules.encode())}
    if not layer.reuse(key, source="rules"):
        os.mkdir(os.path.dirname(target))
        shutil.copyfile(source, target)
        os.chmod(target, 0o755)  # noqa: S103 - it is a program
        with open(os.path.join(layer.path, "rules.json"), "w", encoding="utf-8") as file:
            file.write(f"{rules}\n")
        layer.describe("supervisor and sync rules")
    return target


def _digest(data: bytes) -> str:
    hashed = sha256()
    hashed.update(data)
    return hashed.hexdigest()


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
