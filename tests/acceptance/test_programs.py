"""The Go programs that are in every image: where they were compiled is not to be seen in them."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_the_programs_are_the_same_wherever_they_are_compiled(repository: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("hatch_build", repository / "launcher" / "hatch_build.py")
    assert spec
    assert spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    digests = []
    for name in ("one", "another/place"):
        root = tmp_path / name
        shutil.copytree(repository / "launcher", root / "launcher", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(repository / "pyproject.toml", root)
        try:
            go = hook.Go(root)
        except hook.LauncherError as error:
            pytest.skip(str(error))
        (directory,) = hook.compile_programs(root, (hook.host_architecture(),), go=go)
        digests.append([hashlib.sha256((directory / each).read_bytes()).hexdigest() for each in hook.PROGRAMS])
    assert digests[0] == digests[1]
