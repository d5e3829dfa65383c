"""API versions: what they bring, and what they are compatible with."""

from __future__ import annotations

import pytest
from msgspec.structs import asdict

from packrunner.errors import PlatformApiError
from packrunner.formats import api

SINCE = {
    "0.8": {"sboms"},
    "0.9": {"source_date_epoch", "bom_files"},
    "0.10": {"command_list"},
    "0.11": {"launcher_sbom"},
    "0.12": {"run_toml", "targets", "history", "layout", "run_image_kept"},
    "0.13": {"extensions_stable", "generated_flat"},
    "0.14": {"cached_launch"},
    "0.15": {"system", "exec_env"},
}


@pytest.mark.cnb("EXC-01")
@pytest.mark.parametrize("version", api.PLATFORM_APIS)
def test_each_level_has_what_came_until_then(version: str) -> None:
    until = api.PLATFORM_APIS[: api.PLATFORM_APIS.index(version) + 1]
    expected = {name for level in until for name in SINCE.get(level, ())}
    assert {name for name, has in asdict(api.platform_features(version)).items() if has} == expected


@pytest.mark.cnb("EXC-03")
@pytest.mark.parametrize("version", ["", "0.6", "0.16", "1.0", "x", "0.15.1"])
def test_other_levels_are_refused_with_11(version: str) -> None:
    with pytest.raises(PlatformApiError) as raised:
        api.platform_features(version)
    assert raised.value.exit_code == 11
    assert "0.7, 0.8" in str(raised.value.cause)


@pytest.mark.cnb("BPD-01")
@pytest.mark.parametrize(
    ("wanted", "supported", "fits"),
    [
        ("0.7", ("0.7", "0.12"), True),
        ("0.12", ("0.7", "0.12"), True),
        ("0.8", ("0.7", "0.12"), False),
        ("0.6", ("0.7",), False),
        ("1", ("1.0",), True),
        ("1.0", ("1",), True),
        ("1.2", ("1.4",), True),
        ("1.4", ("1.4",), True),
        ("1.5", ("1.4",), False),
        ("2.0", ("1.4",), False),
        ("1.4", ("2.4",), False),
        ("0", ("0.0",), True),
        *((text, ("0.7", "1.4"), False) for text in ("", "1.", ".7", "0.7.1", "v0.7", "-1", "0.x", "\u0661", " 0.7")),
    ],
)
def test_compatibility(wanted: str, supported: tuple[str, ...], fits: bool) -> None:
    assert api.supports_buildpack(wanted, supported) is fits


@pytest.mark.cnb("BPD-01", "BPD-02")
def test_what_is_supported() -> None:
    minors = [m for m in range(40) if api.supports_buildpack(f"0.{m}")]
    assert minors == [7, 8, 9, 10, 11, 12]
    assert not api.supports_buildpack("1.0")
