"""What builds and plans open for a request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from packrunner.cli.wiring.opening import place
from packrunner.engines.base import User
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.request import merge

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from packrunner.catalog.builder import Builder


class FakeBuilder:
    reference = "debian:13"
    user = User()


def of(path: str, *, exec_env: str = "production") -> str:
    request = merge(Flags(cwd=path, image="shop", exec_env=exec_env), {})
    return place(request, cast("Builder", FakeBuilder()))


def test_an_application_has_one_cache_whatever_link_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACKRUNNER_HOME", str(tmp_path / "home"))
    (tmp_path / "shop").mkdir()
    os.symlink("shop", tmp_path / "link")
    assert of(str(tmp_path / "link")) == of(str(tmp_path / "shop"))
    assert os.path.basename(of(str(tmp_path / "link"))).startswith("shop-")
    assert of(str(tmp_path)) != of(str(tmp_path / "shop"))


def test_another_purpose_has_a_cache_of_its_own(tmp_path: Path) -> None:
    assert of(str(tmp_path), exec_env="test") != of(str(tmp_path))
