"""The start module: what it answers itself, what it hands on, and that it loads next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("typer", "click", "rich", "msgspec", "dataclasses", "typing", "inspect", "subprocess", "pathlib", "hashlib")


def loaded_by(code: str) -> set[str]:
    """The modules that an interpreter has loaded after running `code`."""
    shown = subprocess.run(
        [sys.executable, "-I", "-c", f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(shown.stdout.split())


def bare() -> set[str]:
    """What an interpreter loads by itself, site customisations included."""
    return loaded_by("pass")


def test_looking_for_a_record_loads_next_to_nothing() -> None:
    extra = loaded_by("import packrunner.start, packrunner.record, packrunner.fingerprint") - bare()
    assert not extra & set(HEAVY), extra & set(HEAVY)


def test_the_version_is_answered_without_the_command_line() -> None:
    code = "import sys; sys.argv = ['packrunner', '--version']\nfrom packrunner.start import main; main()"
    extra = loaded_by(code) - bare()
    assert "packrunner.record" not in extra
    assert not extra & set(HEAVY)


def test_a_build_loads_nothing_of_what_makes_builders_packages_and_development_environments() -> None:
    loaded = loaded_by("import packrunner.cli.wiring as wiring\nwiring.build")
    assert "packrunner.cli.wiring.building" in loaded
    others = ("catalog.create", "catalog.package", "cli.wiring.planning", "cli.wiring.keeping", "bases.base", "dev")
    assert not {f"packrunner.{name}" for name in others} & loaded


def test_every_service_is_there() -> None:
    from packrunner.cli import wiring

    assert [name for name in wiring.__all__ if not callable(getattr(wiring, name))] == []
    with pytest.raises(AttributeError):
        _ = wiring.nothing
