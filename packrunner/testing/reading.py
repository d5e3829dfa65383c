"""From what the phases say to what tests assert on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from packrunner.lifecycle.detect_run import PASS
from packrunner.testing.results import Built, Detected, Layer, Pair, Require

if TYPE_CHECKING:
    from pathlib import Path

    from packrunner.lifecycle.build import BuildResult
    from packrunner.lifecycle.detect import Findings
    from packrunner.lifecycle.outputs import LayerOutput
    from packrunner.lifecycle.sbom import Sbom


def detected(found: Findings, key: tuple[str, str]) -> Detected:
    """How bin/detect ended."""
    run = found.runs.get(key)
    if run is None:
        (group,) = found.outcomes
        return Detected(passed=False, error=group.members[0].why if group.members else group.why)
    plan = run.plan
    pairs = [
        Pair(
            provides=tuple(one.name for one in pair.provides),
            requires=tuple(Require(one.name, one.metadata) for one in pair.requires),
        )
        for pair in (plan.all if plan else ())
    ]
    declined = not run.error and run.code != PASS
    return Detected(
        passed=not run.error and run.code == PASS,
        reason=run.why if declined else "",
        tries=run.said.tries if declined else (),
        error=run.error,
        alternatives=tuple(pairs) or (Pair(),),
        output=b"".join(data for _, data in run.held.chunks).decode(errors="replace"),
    )


def built(result: BuildResult, own: Path, *, place: str, step: str, warnings: tuple[str, ...], output: str) -> Built:
    """What bin/build left in its layers directory `own`, called `place` where it ran."""
    (left,) = result.outputs
    launch = left.launch
    return Built(
        layers={
            one.name: _layer(one, own, place, result.said.get((left.member.id, one.name), ""), left.sboms)
            for one in left.layers
        },
        processes={one.type: one for one in launch.processes},
        default=next((one.type for one in launch.processes if one.default), None),
        labels={one.key: one.value for one in launch.labels},
        slices=tuple(one.paths for one in launch.slices),
        unmet=tuple(one.name for one in left.build.unmet),
        store=left.store or {},
        sboms={scope: _sboms(left.sboms, f"{own.name}/", scope) for scope in ("launch", "build")},
        step=step,
        warnings=warnings,
        output=output,
    )


def _layer(one: LayerOutput, own: Path, place: str, detail: str, sboms: tuple[Sbom, ...]) -> Layer:
    return Layer(
        name=one.name,
        path=own / one.name,
        place=f"{place}/{one.name}",
        launch=one.types.launch,
        build=one.types.build,
        cache=one.types.cache,
        metadata=one.metadata,
        detail=detail,
        sboms=_sboms(sboms, f"{own.name}/{one.name}/"),
    )


def _sboms(sboms: tuple[Sbom, ...], prefix: str, scope: str = "") -> dict[str, Any]:
    """The documents `<prefix>sbom.<format>.json`, by format."""
    return {
        one.path.removeprefix(f"{prefix}sbom.").removesuffix(".json"): json.loads(one.data)
        for one in sboms
        if one.path.startswith(f"{prefix}sbom.") and scope in ("", one.scope)
    }
