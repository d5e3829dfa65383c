"""Detection without a build: the answer to `packrunner detect`. Writes nothing but the application's workspace.

What a build has and detection does not need (a run image, the layers) is neither made nor shown.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from packrunner import fingerprint, workspace
from packrunner.engines.base import Mount, SandboxSpec
from packrunner.events import Noted
from packrunner.formats.api import PLATFORM_API
from packrunner.lifecycle import application
from packrunner.lifecycle.detect import MAX_GROUPS, DetectInputs, examine
from packrunner.lifecycle.explain import AppFiles, failure
from packrunner.workspace import PLANS_DIR, PLATFORM_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packrunner.catalog.select import Selection
    from packrunner.engines.base import Engine, Network, User
    from packrunner.errors import DetectErroredError, DetectNoneError
    from packrunner.events import Reporter
    from packrunner.formats.platform import RunTarget
    from packrunner.images.image import Image
    from packrunner.lifecycle.application import Rules
    from packrunner.lifecycle.detect import Findings
    from packrunner.lifecycle.explain import GroupOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What to look at, and with what; as in a build's Job."""

    source: str
    rules: Rules
    env: Mapping[str, str]
    bindings: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    place: str
    selection: Selection
    rootfs: tuple[str, ...]
    image: Image | None = None
    image_env: Mapping[str, str]
    user: User
    target: RunTarget
    operator: Mapping[str, bytes] = field(default_factory=dict)
    platform_api: str = PLATFORM_API
    network: Network = "host"
    exec_env: str = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How detection went: every group tried, those after the chosen one, and the error a build would end with."""

    findings: Findings
    untried: tuple[GroupOutcome, ...]
    app: AppFiles
    target: RunTarget
    buildpacks: int
    seconds: float

    @property
    def error(self) -> DetectNoneError | DetectErroredError | None:
        """Why no group fits; None when one does."""
        if self.findings.resolution is not None:
            return None
        return failure(self.findings.outcomes, app=self.app, cut_off=self.findings.cut_off)


def ask(
    inquiry: Inquiry, *, engine: Engine, reporter: Reporter, overlays: bool, owner: tuple[int, int] | None
) -> Answer:
    """Run detection in a sandbox of its own. Raises what `order.expand` raises, UsageError, EngineError, StoreError."""
    began = time.monotonic()
    waiting = Noted(text="a build of this application is running; detection starts when that ends", always=True)
    try:
        table = fingerprint.scan(inquiry.source, skip=inquiry.rules.skip)
    except OSError as error:
        raise application.unreadable(error, inquiry.source) from error
    with workspace.opened(
        inquiry.place,
        inquiry.source,
        owner=owner,
        env=inquiry.env,
        bindings=inquiry.bindings,
        waiting=lambda: reporter.emit(waiting),
    ) as ws:
        app = application.prepare(ws, inquiry.source, table, rules=inquiry.rules, user=inquiry.user, overlays=overlays)
        spec = SandboxSpec(
            rootfs=inquiry.rootfs,
            image=inquiry.image,
            user=inquiry.user,
            mounts=(
                Mount(source=ws.platform, target=PLATFORM_DIR),
                *inquiry.selection.mounts,
                *inquiry.selection.extension_mounts,
                Mount(source=ws.plans, target=PLANS_DIR, writable=True),
                *app.mounts,
            ),
            overlays=app.overlays,
            network=inquiry.network,
        )
        top = tuple(sorted(set(os.listdir(inquiry.source)) - inquiry.rules.skip))
        files = AppFiles(count=fingerprint.files(table), names=top)
        inputs = DetectInputs(
            order=inquiry.selection.order,
            system=inquiry.selection.system,
            buildpacks=inquiry.selection.buildpacks,
            extensions=inquiry.selection.extensions,
            plans_dir=ws.plans,
            target=inquiry.target,
            image_env=inquiry.image_env,
            platform_env=inquiry.env,
            operator=inquiry.operator,
            platform_api=inquiry.platform_api,
            home=inquiry.user.home,
            exec_env=inquiry.exec_env,
            owner=owner,
            app_files=files,
        )
        with engine.open(spec) as sandbox:
            findings = examine(inputs, sandbox=sandbox)
    return Answer(
        findings=findings,
        untried=tuple(islice(findings.untried, MAX_GROUPS)),
        app=files,
        target=inquiry.target,
        buildpacks=sum(not b.descriptor.is_composite for b in inquiry.selection.buildpacks.values()),
        seconds=time.monotonic() - began,
    )
