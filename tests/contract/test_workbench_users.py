"""The contract of workbenches again as an ordinary user, with and without subordinate ids, where root runs the tests.

What /etc/subuid and /etc/subgid say is for one mount namespace only: nothing of this machine is changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import services

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="the tests already run as an ordinary user"),
]

SCRIPT = """\
set -e
mount --bind "$1" /etc/subuid
mount --bind "$1" /etc/subgid
shift
exec runuser -u nobody -- "$@"
"""


@pytest.mark.cnb("EXT-15")
@pytest.mark.parametrize("granted", ["nobody:300000:65536\n", ""], ids=["subordinate-ids", "one-id"])
def test_an_ordinary_user_extends_images_too(granted: str, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    if granted and not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed: apt install uidmap")
    if not (os.path.exists("/etc/subuid") and os.path.exists("/etc/subgid")):
        pytest.skip("this machine has no /etc/subuid to show another one in the place of")
    readable = subprocess.run(["runuser", "-u", "nobody", "--", sys.executable, "-c", ""], check=False)
    if readable.returncode or not os.access(pytestconfig.rootpath, os.R_OK):
        pytest.skip("the Python of these tests cannot be read by other users")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no mount namespaces")
    services.open_to_others(tmp_path)
    grants = tmp_path / "subids"
    grants.write_text(granted)
    home = tmp_path / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    ended = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", str(grants)),
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(home / "base")),
            "tests/contract/test_workbench.py",
        ],
        env={**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ("no subordinate ids" in ended.stdout) is (not granted), ended.stdout
