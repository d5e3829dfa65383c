"""The installed command as /cnb/lifecycle/creator, with this machine as the container: whoever starts it, nobody
builds as root, and nothing that a buildpack started outlives its phase.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packrunner.images.image import Image
from packrunner.images.layer import File, write_layer
from packrunner.images.layout_write import write_layout
from packrunner.images.layouts import Layouts
from packrunner.images.reference import Reference
from packrunner.images.store import LocalStore
from tests.acceptance.conftest import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator

BUILD = """#!/bin/sh
set -eu
mkdir -p "$CNB_LAYERS_DIR/who"
(trap '' TERM HUP; setsid sh -c 'trap "" TERM; sleep 300' >/dev/null 2>&1 &)
{ id -u; id -g; env | grep -c SECRET || true; } > "$CNB_LAYERS_DIR/who/is"
printf '[types]\\nlaunch = true\\n' > "$CNB_LAYERS_DIR/who.toml"
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Directories of a builder that another user can reach too."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    bin_dir = directory / "buildpacks" / "test_who" / "1.0.0" / "bin"
    bin_dir.mkdir(parents=True)
    for name in ("layers", "workspace", "platform", "layout"):
        (directory / name).mkdir()
    (bin_dir.parent / "buildpack.toml").write_text('api = "0.10"\n[buildpack]\nid = "test/who"\nversion = "1.0.0"\n')
    for name, text in (("detect", "#!/bin/sh\n"), ("build", BUILD)):
        (bin_dir / name).write_text(text)
        (bin_dir / name).chmod(0o755)
    (directory / "order.toml").write_text('[[order]]\n[[order.group]]\nid = "test/who"\n')
    (directory / "run.toml").write_text('[[images]]\nimage = "test/run"\n')
    store = LocalStore(str(directory / "store"))
    layer = write_layer(store, [File(target="/etc/base", data=b"base\n")], created_by="base").layer
    image = Image(user="1000:1000").with_layers(layer)
    write_layout(str(directory / "layout" / Reference.parse("test/run").layout_path), image, store, "latest")
    yield directory
    shutil.rmtree(directory)


@pytest.mark.cnb("DET-01", "EXC-06")
@pytest.mark.fault("SBX-14")
def test_a_link_named_creator_builds_as_the_builds_user_and_leaves_nothing_behind(place: Path) -> None:
    creator = place / "creator"
    creator.symlink_to(COMMAND)
    user = (os.geteuid(), os.getegid()) if os.geteuid() else (1000, 1000)
    if os.geteuid() == 0:
        for name in ("layers", "workspace"):
            os.chown(place / name, *user)
    flags = {"-layers": "layers", "-app": "workspace", "-platform": "platform", "-buildpacks": "buildpacks"}
    flags |= {"-order": "order.toml", "-run": "run.toml", "-layout-dir": "layout"}
    arguments = [word for name, path in flags.items() for word in (name, str(place / path))]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "REGISTRY_SECRET": "x",
        "CNB_PLATFORM_API": "0.15",
        "CNB_EXPERIMENTAL_MODE": "silent",
        "CNB_USER_ID": str(user[0]),
        "CNB_GROUP_ID": str(user[1]),
    }
    ended = subprocess.run(
        [creator, *arguments, "-layout", "test/who"], env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    who = place / "layers" / "test_who" / "who" / "is"
    assert who.read_text().split() == [str(user[0]), str(user[1]), "0"]
    assert (who.stat().st_uid, who.stat().st_gid) == user
    made = Layouts(str(place / "layout")).read("test/who")
    assert made is not None
    assert ended.stdout == f"test/who@{made.digest}\n"
    time.sleep(0.1)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _of(pid, place)]


def _of(pid: str, place: Path) -> bool:
    """Whether a process belongs to a build in `place`."""
    try:
        return os.readlink(f"/proc/{pid}/cwd").startswith(str(place))
    except OSError:
        return False
