"""`packrunner lifecycle extend -kind build` with this machine as the container, and where that cannot work (EXT-14)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import Cli, Ended

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="a root that is extended by an ordinary user is all that user's"),
]

DOCKERFILE = """\
ARG base_image
FROM ${base_image}
USER root
ENV TOOL_HOME=/opt/tool
COPY file /usr/share/from-app
RUN printf '#!/bin/sh\\ncat /usr/share/from-app\\n' > /usr/local/bin/test-extend-tool
RUN chmod 755 /usr/local/bin/test-extend-tool && echo lost > /layers/lost
ARG user_id
ARG group_id
USER ${user_id}:${group_id}
"""
BUILD = """\
#!/bin/sh
set -eu
echo "uid $(id -u), TOOL_HOME=$TOOL_HOME, $(test-extend-tool)"
touch /usr/local/bin/mine 2>/dev/null || echo "the root stays as it is"
printf '[[processes]]\\ntype = "web"\\ncommand = ["true"]\\n' > "$CNB_LAYERS_DIR/launch.toml"
"""
FILES = {
    "app/file": "of the application\n",
    "buildpacks/acme_shows/1.0.0/buildpack.toml": 'api = "0.12"\n[buildpack]\nid = "acme/shows"\nversion = "1.0.0"\n',
    "buildpacks/acme_shows/1.0.0/bin/detect": '#!/bin/sh\nprintf \'[[requires]]\\nname = "tool"\\n\' >> "$2"\n',
    "buildpacks/acme_shows/1.0.0/bin/build": BUILD,
    "extensions/acme_tool/1.0.0/extension.toml": 'api = "0.12"\n[extension]\nid = "acme/tool"\nversion = "1.0.0"\n',
    "extensions/acme_tool/1.0.0/detect/plan.toml": '[[provides]]\nname = "tool"\n',
    "extensions/acme_tool/1.0.0/generate/build.Dockerfile": DOCKERFILE,
    "layers/analyzed.toml": '[run-image]\nreference = "run"\nimage = "run"\n',
    "layers/order.toml": '[[order]]\n[[order.group]]\nid = "acme/shows"\nversion = "1.0.0"\n'
    '[[order-extensions]]\n[[order-extensions.group]]\nid = "acme/tool"\nversion = "1.0.0"\n',
    "platform/env/NAME": "value",
}


@pytest.fixture
def place() -> Iterator[Path]:
    """A builder's directories, where a sandbox shows them: not below /tmp, which every sandbox has for itself."""
    directory = Path(tempfile.mkdtemp(dir="/srv"))
    directory.chmod(0o755)
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.parent.name == "bin":
            path.chmod(0o755)
    for path in (directory / "layers", *(directory / "layers").rglob("*"), directory / "app"):
        os.chown(path, 1000, 1000)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def volume() -> Iterator[str]:
    """A home on another file system than the root's, where the root is one that the kernel shows with other ids."""
    roots = [line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == "/"]
    if roots[-1] == "overlay":
        pytest.skip("the root is an overlay, which cannot be shown with other ids")
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat("/").st_dev:
        pytest.skip("there is no second file system for PACKRUNNER_HOME")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield directory


def phase(cli: Cli, place: Path, name: str, *args: str, **env: str) -> Ended:
    flags = {"-layers": "layers", "-app": "app", "-buildpacks": "buildpacks", "-platform": "platform"}
    if name == "detect":
        flags["-extensions"] = "extensions"
    words = [word for flag, directory in flags.items() for word in (flag, str(place / directory))]
    level = {"CNB_PLATFORM_API": "0.15", "CNB_USER_ID": "1000", "CNB_GROUP_ID": "1000"}
    return cli("lifecycle", name, *words, *args, **{**level, **env})


@pytest.mark.cnb("EXT-11", "EXT-12", "EXT-14", "BLD-02")
def test_the_build_phase_runs_on_the_extended_root(cli: Cli, place: Path, volume: str) -> None:
    assert phase(cli, place, "detect").code == 0
    ended = phase(cli, place, "extend", PACKRUNNER_HOME=volume)
    assert ended.code == 0, ended.err
    assert "uid 1000, TOOL_HOME=/opt/tool, of the application" in ended.err
    assert "the root stays as it is" in ended.err
    assert '"acme/tool"' in (place / "layers" / "config" / "metadata.toml").read_text()
    assert not os.path.exists("/usr/local/bin/test-extend-tool")
    assert not os.path.exists("/usr/share/from-app")
    (place / "buildpacks" / "acme_shows" / "1.0.0" / "bin" / "build").write_text("#!/bin/sh\nexit 3\n")
    assert phase(cli, place, "extend", "-kind", "build", PACKRUNNER_HOME=volume).code == 51


@pytest.mark.cnb("EXC-02", "EXC-04", "EXC-05")
def test_what_cannot_be_extended_ends_with_its_code(cli: Cli, place: Path, volume: str) -> None:
    assert phase(cli, place, "detect").code == 0
    with tempfile.TemporaryDirectory(dir="/srv") as home:
        nested = phase(cli, place, "extend", PACKRUNNER_HOME=home)
    assert (nested.code, "error[extend-nested]" in nested.err) == (102, True), nested.err
    assert "PACKRUNNER_HOME on a volume" in nested.err
    assert phase(cli, place, "extend", "-kind", "both", PACKRUNNER_HOME=volume).code == 3
    assert phase(cli, place, "extend", CNB_PLATFORM_API="0.12", PACKRUNNER_HOME=volume).code == 1
    assert phase(cli, place, "extend", "-kind", "run", CNB_PLATFORM_API="0.11", PACKRUNNER_HOME=volume).code == 3
    dockerfile = place / "layers" / "generated" / "acme_tool" / "build.Dockerfile"
    dockerfile.write_text("ARG base_image\nFROM ${base_image}\nUSER root\nRUN exit 4\n")
    failed = phase(cli, place, "extend", PACKRUNNER_HOME=volume)
    assert (failed.code, "acme_tool/build.Dockerfile:4: RUN ended" in failed.err) == (102, True), failed.err
    dockerfile.write_text("FROM other\n")
    assert phase(cli, place, "extend", PACKRUNNER_HOME=volume).code == 102
