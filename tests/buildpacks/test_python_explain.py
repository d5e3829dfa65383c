"""What pip and uv said in real failures, and the place and the next step that the buildpack makes of it."""

from __future__ import annotations

import importlib
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.buildpacks.builtin import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REQUIREMENTS = """# what the shop needs
Flask==3.1.3
flaskk==99.9
werkzeug<2 ; python_version > "3"
click==8.1.8 --hash=sha256:00
psycopg2==2.9.10
-r more.txt
"""
MORE = "numpy==2.4.0\n"
CASES = tomllib.loads((ROOT / "tests/buildpacks/failures.toml").read_text())["case"]


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The buildpack's module, and the requirements above."""
    # Compiled files would change the buildpack that other tests stage.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(ROOT / "buildpacks/python/lib")
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    (tmp_path / "more.txt").write_text(MORE)
    yield importlib.import_module("python_buildpack.explain")
    for name in [name for name in sys.modules if name.startswith("python_buildpack")]:
        del sys.modules[name]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_failure_has_a_place_and_a_next_step(explain: Any, tmp_path: Path, case: dict[str, str]) -> None:
    requirements = importlib.import_module("python_buildpack.requirements").Requirements(str(tmp_path))
    failure = explain.explain(case["output"], requirements)
    assert (failure.brief, failure.at, failure.tries[0]) == (case["brief"], case["at"], case["try"])
    assert "secret" not in failure.at


def test_what_is_not_known_is_not_invented(explain: Any, tmp_path: Path) -> None:
    requirements = importlib.import_module("python_buildpack.requirements").Requirements(str(tmp_path))
    assert explain.explain("Segmentation fault\n", requirements) is None


@pytest.mark.parametrize(
    ("output", "brief"),
    [
        ("No module named pip\n", "needs pip in the build image to fetch uv"),
        ("ERROR: No matching distribution found for uv==1\n", "could not find uv at the package index"),
        ("Temporary failure in name resolution\n", "could not fetch uv: the package index cannot be reached"),
    ],
)
def test_fetching_the_installer_fails_with_a_reason(explain: Any, output: str, brief: str) -> None:
    assert explain.explain_tool(output).brief == brief
    assert explain.explain_tool("unheard of") is None
