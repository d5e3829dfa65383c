"""`make dist` runs this on the wheel: what must be in it is, nothing else is, and it fits its tag."""

from __future__ import annotations

import re
import sys
import zipfile

NEEDED = (
    "packrunner/start.py",
    "packrunner/py.typed",
    "packrunner/_version.py",
    "packrunner/sdk/__init__.py",
    "packrunner/testing/__init__.py",
    "packrunner/catalog/templates/common/README.md",
    "packrunner/catalog/templates/common/tests/fixture/hello.txt",
    "packrunner/catalog/templates/python/bin/build",
    "packrunner/catalog/templates/shell/bin/build",
    "packrunner/catalog/templates/go/main.go",
    "packrunner/catalog/templates/go/dot-gitignore",
    "packrunner/catalog/templates/composite/package.toml",
    "packrunner/catalog/templates/extension/bin/generate",
    "packrunner/bases/keyring/debian-archive-trixie-stable.asc",
    "packrunner/_docs/errors.md",
    "packrunner/_buildpacks/order.toml",
    "packrunner/_buildpacks/system.toml",
    "packrunner/_buildpacks/python/buildpack.toml",
    "packrunner/_buildpacks/python/bin/detect",
    "packrunner/_buildpacks/python/bin/build",
    "packrunner/_buildpacks/environment-variables/bin/build",
    "packrunner/_buildpacks/procfile/bin/build",
    "packrunner/_buildpacks/live-reload/bin/build",
    "packrunner/_bin/linux-amd64/launcher",
    "packrunner/_bin/linux-amd64/agent",
    "packrunner/_bin/linux-amd64/reloader",
    "packrunner/_bin/linux-arm64/launcher",
    "packrunner/_bin/linux-arm64/agent",
    "packrunner/_bin/linux-arm64/reloader",
)
ALLOWED = re.compile(r"packrunner/[\w./-]+|packrunner-[\w.+]+\.dist-info/[\w./-]+")
FORBIDDEN = re.compile(r"__pycache__|\.pyc$|^(?!packrunner/catalog/templates/).*/tests?/|\.env$|~$")


def problems(path: str) -> list[str]:
    """What is wrong with the wheel at `path`."""
    with zipfile.ZipFile(path) as wheel:
        modes = {info.filename: info.external_attr >> 16 for info in wheel.infolist()}
    found = [f"{name} is missing" for name in NEEDED if name not in modes]
    found += [
        f"{name} does not belong there" for name in modes if not ALLOWED.fullmatch(name) or FORBIDDEN.search(name)
    ]
    programs = [n for n in modes if n.startswith("packrunner/_bin/linux-") or re.search(r"/bin/(detect|build)$", n)]
    found += [f"{name} is not executable" for name in programs if not modes[name] & 0o111]
    if not any(name.endswith(("/LICENSE", "/NOTICE")) for name in modes):
        found.append("LICENSE and NOTICE are missing")
    return found


if __name__ == "__main__":
    for wheel_path in sys.argv[1:]:
        wrong = problems(wheel_path)
        print("\n".join(wrong) or f"{wheel_path}: complete")
        if wrong:
            sys.exit(1)
