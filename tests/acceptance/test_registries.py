"""Images to and from a real registry, by the installed command."""

from __future__ import annotations

import base64
import json
import signal
import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.prepared import begin
from tests.real_registry import PASSWORD, USER, blobs_sent, real_registry
from tests.registry import Reply, ScriptedRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Cli
    from tests.real_registry import RealRegistry

pytestmark = [pytest.mark.sandbox, pytest.mark.network, pytest.mark.registry]

BUILD = """#!/bin/sh
set -e
echo "runs" >&2
cd "$CNB_LAYERS_DIR"
if [ -d deps ]; then echo "deps: back"; else mkdir deps; echo new > deps/f; fi
printf '[types]\\nbuild = true\\ncache = true\\n' > deps.toml
if [ -f only.toml ]; then echo "only: reused"; else mkdir only; head -c 300000 /dev/urandom > only/f; fi
printf '[types]\\nlaunch = true\\n[metadata]\\nv = "1"\\n' > only.toml
printf '[[processes]]\\ntype = "web"\\ncommand = ["true"]\\ndefault = true\\n' > launch.toml
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, ...]:
    """A small application, and a buildpack with a cached layer and one that only the image has."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "f").write_text("1")
    place = tmp_path / "small"
    (place / "bin").mkdir(parents=True)
    (place / "buildpack.toml").write_text('api = "0.12"\n[buildpack]\nid = "acme/small"\nversion = "1.0.0"\n')
    for name, text in (("detect", "#!/bin/sh\n"), ("build", BUILD)):
        path = place / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return ("-p", str(tmp_path / "app"), "-b", str(place))


@pytest.fixture
def elsewhere(cli: Cli, prepared: Path, tmp_path: Path) -> Cli:
    """Another machine: the base is there, and nothing else that was ever built."""
    begin(prepared, tmp_path / "elsewhere")
    return replace(cli, home=str(tmp_path / "elsewhere"))


@pytest.mark.cnb("EXP-06")
@pytest.mark.cnb("EXP-32")
def test_build_pushes_under_all_names_and_an_unchanged_image_costs_few_requests(
    cli: Cli, small: tuple[str, ...], registry: RealRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/team/shop"
    call = ("build", name, "-t", f"{name}:v2", *small, "--push", "--report-output-dir", str(tmp_path / "report"))
    ended = cli.ok(*call)
    digest, _ = registry.manifest("team/shop")
    assert ended.out == f"{name}@{digest}\n"
    assert registry.manifest("team/shop", "v2")[0] == digest
    assert "Built and pushed in" in ended.err
    assert digest in (tmp_path / "report/report.toml").read_text()
    registry.asked()
    again = cli.ok(*call)
    assert "Nothing changed since" in again.err
    assert "kept here and there" in again.err
    assert again.out == ended.out
    asked = registry.asked()
    assert len(asked) <= 10
    assert blobs_sent(asked) == []
    # With its buildpacks run again: few requests too, and no blob.
    cli.ok(*call, "--rebuild")
    asked = registry.asked()
    assert blobs_sent(asked) == []
    assert registry.manifest("team/shop")[0] == digest
    # It is not claimed to be there when it is not. (The report was written anew, so this is a build.)
    cli.ok(*call)
    registry.delete("team/shop", digest)
    assert "sent again" in cli.ok(*call).err
    assert registry.manifest("team/shop", "v2")[0] == digest


@pytest.mark.cnb("RES-06")
def test_what_may_not_be_pushed_is_said_before_anything_is_built(
    cli: Cli, small: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "private").mkdir()
    anonymous = replace(cli, env={"HOME": str(tmp_path)})
    with real_registry(tmp_path / "private", closed=True) as private:
        name = f"{private.host}/team/shop"
        ended = anonymous("build", name, *small, "--push")
        assert (ended.code, ended.out) == (14, "")
        assert f"error[registry-auth]: {private.host} " in ended.err
        assert "nothing was built" in ended.err
        assert f"packrunner login {private.host}" in ended.err
        assert "runs" not in ended.err
        assert "detect" not in ended.err
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        auth = json.dumps({private.host: f"Basic {login}"})
        ended = anonymous.ok("build", name, *small, "--push", CNB_REGISTRY_AUTH=auth)
        assert PASSWORD not in ended.err
        assert login not in ended.err
        # And not by another run's record either.
        assert anonymous("build", name, *small, "--push").code == 14
    (tmp_path / "closed").mkdir()
    with real_registry(tmp_path / "closed", read_only=True) as closed:
        ended = anonymous("build", "local", *small, "--cache-image", f"{closed.host}/cache")
        assert ended.code != 0
        assert "nothing was built" in ended.err


@pytest.mark.cnb("RES-01")
@pytest.mark.cnb("RES-13")
@pytest.mark.cnb("EXP-03")
def test_another_machine_takes_up_where_the_first_one_was(
    cli: Cli, elsewhere: Cli, small: tuple[str, ...], registry: RealRegistry, tmp_path: Path
) -> None:
    """Cached layers come from the cache image, those of the image alone from the image: only these are fetched."""
    name = f"{registry.host}/team/shop"
    cached = ("--cache-image", f"{registry.host}/team/cache")
    cli.ok("build", name, *small, "--push", *cached)
    (tmp_path / "app" / "f").write_text("2")
    digest, before = registry.manifest("team/shop")
    registry.asked()
    ended = elsewhere.ok("build", name, *small, "--push", *cached)
    assert "deps: back" in ended.err
    assert "only: reused" in ended.err
    assert "made again" not in ended.err
    assert registry.manifest("team/shop")[0] != digest
    asked = registry.asked()
    fetched = {one.path.rpartition("/")[2] for one in asked if one.method == "GET" and "/blobs/" in one.path}
    layers = {layer["digest"] for layer in before["layers"]}
    assert len(fetched & layers) == 1
    # The application and the configuration of the image; the cache is the same.
    assert len([one for one in blobs_sent(asked) if one.method == "PUT"]) == 2
    # The image that is here is whole.
    assert (
        elsewhere.ok("run", name, "--command", "--", "sh", "-c", "wc -c < /layers/acme_small/only/f").out == "300000\n"
    )


def test_a_cache_image_needs_no_push(cli: Cli, elsewhere: Cli, small: tuple[str, ...], registry: RealRegistry) -> None:
    cached = ("--cache", f"type=image,name={registry.host}/team/cache")
    cli.ok("build", "cached-only", *small, *cached)
    assert "deps: back" in elsewhere.ok("build", "cached-only", *small, *cached).err


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_push_pull_inspect_and_save(
    cli: Cli, elsewhere: Cli, small: tuple[str, ...], registry: RealRegistry, tmp_path: Path, compression: str
) -> None:
    cli.ok("build", "moved", *small)
    name = f"{registry.host}/moved:1"
    pushed = cli.ok("push", "moved", name, "--compression", compression)
    digest, manifest = registry.manifest("moved", "1")
    assert pushed.out == f"{name}@{digest}\n"
    assert {layer["mediaType"].rpartition("+")[2] for layer in manifest["layers"]} == {compression}
    registry.asked()
    looked = json.loads(elsewhere.ok("inspect", "--remote", name, "--json").out)
    assert looked["digest"] == digest
    assert len([one for one in registry.asked() if one.method == "GET" and "/blobs/" in one.path]) == 1
    assert elsewhere.ok("pull", name).out == f"{name}@{digest}\n"
    assert name in elsewhere.ok("images").out
    saved = elsewhere.ok("save", name, "-o", f"oci-archive:{tmp_path}/saved.tar")
    assert digest in saved.out
    assert json.loads(elsewhere.ok("inspect", f"oci-archive:{tmp_path}/saved.tar", "--json").out)["digest"] == digest
    gone = cli("pull", f"{registry.host}/none")
    assert (gone.code, "error[unknown-image]" in gone.err) == (2, True)


def test_run_images_are_found_by_the_pull_policy(cli: Cli, small: tuple[str, ...], registry: RealRegistry) -> None:
    cli.ok("build", "below", *small)
    name = f"{registry.host}/below"
    cli.ok("push", "below", name)
    call = ("build", "above", *small, "--run-image", name)
    refused = cli(*call, "--pull-policy", "never")
    assert (refused.code, "error[unknown-image]" in refused.err) == (2, True)
    cli.ok(*call)
    registry.asked()
    assert "Nothing changed" in cli.ok(*call).err
    assert registry.asked() == [], "it is here now"
    cli.ok(*call, "--pull-policy", "always")
    assert registry.asked()
    # With `always` a newer one can be there the next time.
    assert "Nothing changed" not in cli.ok(*call, "--pull-policy", "always").err


@pytest.mark.cnb("RBS-03")
@pytest.mark.cnb("RBS-11")
def test_rebase_in_a_registry_pulls_no_layer(cli: Cli, small: tuple[str, ...], registry: RealRegistry) -> None:
    base, name = f"{registry.host}/base", f"{registry.host}/shop"
    cli.ok("build", "below", *small)
    cli.ok("push", "below", base)
    cli.ok("build", name, *small, "--run-image", base, "--push")
    before, old = registry.manifest("shop")
    cli.ok("build", "below", *small, "-e", "BPE_NEWER=1", "-b", "environment-variables")
    cli.ok("push", "below", base)
    registry.asked()
    ended = cli.ok("rebase", "--push", name)
    asked = registry.asked()
    after, new = registry.manifest("shop")
    assert ended.out == f"{name}@{after}\n"
    assert after != before
    _, below = registry.manifest("base")
    assert new["layers"][: len(below["layers"])] == below["layers"]
    layers = {layer["digest"] for layer in (*old["layers"], *new["layers"])}
    assert not [one for one in asked if one.method == "GET" and one.path.rpartition("/")[2] in layers]
    assert len([one for one in blobs_sent(asked) if one.method == "PUT"]) == 1, "the configuration alone"
    again = cli.ok("rebase", "--push", name)
    assert "on the newest" in again.err
    assert again.out == f"{name}@{after}\n"
    cli.ok("rebase", "--push", name, "-t", f"{name}:patched")
    assert registry.manifest("shop", "patched")[0] == after


@pytest.mark.fault("PRO-01")
def test_ctrl_c_in_a_push_ends_it(cli: Cli, small: tuple[str, ...]) -> None:
    cli.ok("build", "stopped", *small)
    scripted = ScriptedRegistry()
    scripted.script("HEAD", "/blobs/", *[Reply(stall=60.0)] * 20)
    scripted.serve()
    try:
        process = cli.start("push", "stopped", f"{scripted.host}/stopped")
        for _ in range(200):
            if scripted.asked("HEAD", "/blobs/"):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        scripted.stop()
    assert (process.returncode, out) == (130, "")
    assert "Stopped." in err
    assert "Traceback" not in err
    assert ("stopped", "latest") not in scripted.manifests
