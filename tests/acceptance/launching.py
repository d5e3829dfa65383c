"""An image with every kind of process, made by two fixture buildpacks of which one is older."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTOR = """api = "{api}"
[buildpack]
id = "test/{name}"
version = "1.0.0"
[[targets]]
os = "linux"
[[stacks]]
id = "*"
"""

DETECT = "#!/bin/sh\nexit 0\n"

# Two layers with all that a launcher looks at; every program and script says in $ORDER that it was there.
MODERN = r"""#!/bin/bash
set -eu
for name in alpha beta; do
  layer="$CNB_LAYERS_DIR/$name"
  mkdir -p "$layer"/{bin,lib,env,env.launch/show,env.build,exec.d/show}
  printf '[types]\nlaunch = true\n' > "$layer.toml"
  printf ' env:%s' "$name" > "$layer/env/ORDER.append"
  printf ' env.launch:%s' "$name" > "$layer/env.launch/ORDER.append"
  printf ' env.launch/show:%s' "$name" > "$layer/env.launch/show/ORDER.append"
  printf ' never' > "$layer/env.build/ORDER.append"
  for where in exec.d exec.d/show; do
    printf '#!/bin/sh\necho "ORDER = \\"$ORDER %s:%s\\"" >&3\n' "$where" "$name" > "$layer/$where/10-program"
    chmod +x "$layer/$where/10-program"
  done
done
layer="$CNB_LAYERS_DIR/alpha"
printf '#!/bin/sh\necho "tool $PWD $*"\n' > "$layer/bin/tool"
chmod +x "$layer/bin/tool"
printf layer > "$layer/env.launch/REPLACED.override"
printf layer > "$layer/env.launch/DEFAULTED.default"
printf layer > "$layer/env.launch/APPENDED.append"
printf : > "$layer/env.launch/APPENDED.delim"
printf layer > "$layer/env.launch/PREPENDED.prepend"
printf : > "$layer/env.launch/PREPENDED.delim"
cat > "$CNB_LAYERS_DIR/launch.toml" <<'TOML'
[[processes]]
type = "show"
command = ["/usr/bin/env"]
args = ["-0"]
default = true
[[processes]]
type = "dotted.type"
command = ["printf", "[%s]", "always"]
args = ["own"]
working-dir = "sub"
[[processes]]
type = "where"
command = ["bash", "-c", "pwd"]
working-dir = "sub"
[[processes]]
type = "everywhere"
command = ["echo", "for tests"]
exec-env = ["test"]
[[processes]]
type = "seven"
command = ["bash", "-c", "exit 7"]
[[processes]]
type = "wait"
command = ["bash", "-c", "trap 'echo got TERM; exit 3' TERM; echo $$; while :; do sleep 0.05; done"]
TOML
"""

OLDER = r"""#!/bin/bash
set -eu
layers=$1
mkdir -p "$layers/old/profile.d/script" "$layers/old/env"
printf '[types]\nlaunch = true\n' > "$layers/old.toml"
echo 'export PROFILED="$PROFILED general"' > "$layers/old/profile.d/a.sh"
echo 'export PROFILED="$PROFILED typed"' > "$layers/old/profile.d/script/a.sh"
cat > "$layers/launch.toml" <<'TOML'
[[processes]]
type = "script"
command = "echo $PROFILED $0; pwd"
working-dir = "sub"
[[processes]]
type = "tokens"
command = "printf"
args = ["[%s]", "$PROFILED", "a  b"]
[[processes]]
type = "direct"
command = "printf"
args = ["[%s]", "$PROFILED"]
direct = true
TOML
"""


def launch_buildpacks(path: Path) -> list[Path]:
    """Write both buildpacks below `path`."""
    for name, api, build in (("modern", "0.12", MODERN), ("older", "0.8", OLDER)):
        (path / name / "bin").mkdir(parents=True)
        (path / name / "buildpack.toml").write_text(DESCRIPTOR.format(name=name, api=api))
        for program, text in (("detect", DETECT), ("build", build)):
            (path / name / "bin" / program).write_text(text)
            (path / name / "bin" / program).chmod(0o755)
    return [path / "modern", path / "older"]


def launch_application(path: Path) -> Path:
    """Write the application: a directory to work in and a profile script."""
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "keep").write_text("")
    (path / ".profile").write_text('export PROFILED="$PROFILED own"\n')
    return path
