"""A development container: the development image, with the directory of the application mounted over its copy.

There is nothing to sync then; the reloader sees the changes, and what a rule wants built anew is built when the
container is. Rules become what the editor need not watch.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from packrunner.dev.rules import PASSING

if TYPE_CHECKING:
    from packrunner.dev.covering import Project
    from packrunner.formats.sync import SyncRules

_LAUNCHER = "/cnb/lifecycle/launcher"


def render(rules: SyncRules, project: Project) -> str:
    """devcontainer.json."""
    return json.dumps(document(rules, project), indent=2)


def document(rules: SyncRules, project: Project) -> dict[str, Any]:
    """Its properties. Commands of the editor go through the launcher, which sets what buildpacks want set."""
    image = project.development
    # The editor has a use for its own files, and for git's.
    ignored = {src for rule in rules.rules if rule.action == "ignore" for src in rule.src}
    unwatched = dict.fromkeys(sorted(ignored.difference(PASSING)), True)
    settings: dict[str, Any] = {
        "terminal.integrated.defaultProfile.linux": "packrunner",
        "terminal.integrated.profiles.linux": {"packrunner": {"path": _LAUNCHER, "args": ["bash"]}},
    }
    if unwatched:
        settings["files.watcherExclude"] = unwatched
    return {
        "name": project.name,
        "initializeCommand": ["packrunner", "build", image, "--exec-env", "development", "--load"],
        "image": image,
        "overrideCommand": False,
        "workspaceFolder": rules.workspace,
        "workspaceMount": f"source=${{localWorkspaceFolder}},target={rules.workspace},type=bind",
        "containerEnv": {"PORT": str(project.port)},
        "forwardPorts": [project.port],
        "customizations": {"vscode": {"settings": settings}},
    }
