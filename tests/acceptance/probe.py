"""A buildpack that proves it ran: the logs that the state directory keeps count its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Cli

DESCRIPTOR = """api = "0.12"
[buildpack]
id = "test/probe"
version = "1.0.0"
[[targets]]
os = "linux"
"""

BUILD = """#!/bin/sh
set -eu
layer="$CNB_LAYERS_DIR/probe"
mkdir -p "$layer"
echo constant > "$layer/content"
printf '[types]\\nlaunch = true\\n' > "$layer.toml"
echo "probe ran"
printf '[[processes]]\\ntype = "probe"\\ncommand = ["true"]\\n' > "$CNB_LAYERS_DIR/launch.toml"
"""


def probe_buildpack(
    path: Path, *, build: str = BUILD, detect: str = "#!/bin/sh\nexit 0\n", name: str = "test/probe"
) -> Path:
    """Write the buildpack at `path`; `name` is its id."""
    (path / "bin").mkdir(parents=True)
    (path / "buildpack.toml").write_text(DESCRIPTOR.replace("test/probe", name))
    for program, text in (("detect", detect), ("build", build)):
        (path / "bin" / program).write_text(text)
        (path / "bin" / program).chmod(0o755)
    return path


def runs_of(cli: Cli, image: str) -> int:
    """How many of the image's builds ran the probe, by the logs that the state directory keeps."""
    count = 0
    from pathlib import Path

    for log in (Path(cli.home) / "state" / "logs").glob(f"{image}-*.log"):
        count += log.read_text(errors="replace").count("probe ran")
    return count
