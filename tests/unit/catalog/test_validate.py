"""What is said to the author of a buildpack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from packrunner.catalog.stage import Stage
from packrunner.catalog.validate import validate

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """api = "0.12"

[buildpack]
id = "acme/a"
version = "1.0.0"

[[buildpack.licenses]]
type = "MIT"

[[targets]]
os = "linux"

[[targets.distros]]
name = "debian"

[metadata]
anything = "goes"
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "sdk").mkdir()
    return Stage(str(tmp_path / "stage"), sdk_dir=str(tmp_path / "sdk"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "a"
    (made / "bin").mkdir(parents=True)
    (made / "buildpack.toml").write_text(GOOD)
    for name in ("detect", "build"):
        (made / "bin" / name).write_text("#!/bin/sh\n")
        (made / "bin" / name).chmod(0o755)
    return made


def test_nothing_is_said_of_a_good_one(place: Path, stage: Stage) -> None:
    found = validate(str(place), stage)
    assert (found.name, found.kind, found.findings, found.is_good) == ("acme/a@1.0.0", "buildpack", (), True)


@pytest.mark.parametrize(
    ("old", "new", "text", "line"),
    [
        ("version", "verison", "did you mean 'version'", 5),
        ("type", "typ", "did you mean 'type'", 8),
        ("[[targets]]\nos", "[[targets]]\nsystem", "no key 'system'", 11),
        ("[[targets.distros]]\nname", "[[targets.distros]]\nnam", "did you mean 'name'", 14),
        ("[metadata]", "[metdata]", "did you mean 'metadata'", 16),
    ],
)
def test_a_misspelt_key_is_named_with_its_line(
    place: Path, stage: Stage, old: str, new: str, text: str, line: int
) -> None:
    (place / "buildpack.toml").write_text(GOOD.replace(old, new, 1))
    found = validate(str(place), stage)
    matching = [one for one in found.findings if text in one.text]
    if old == "version":  # without one it cannot be used, which comes first
        assert not found.is_good
        return
    assert [one.level for one in matching] == ["warning"]
    assert f"buildpack.toml:{line}," in matching[0].at
    assert found.is_good


def test_a_composite_without_versions_can_be_used_and_not_packaged(place: Path, stage: Stage) -> None:
    head = GOOD.partition("[[targets]]")[0]
    (place / "buildpack.toml").write_text(f'{head}[[order]]\n[[order.group]]\nid = "acme/b"\noptonal = true\n')
    found = validate(str(place), stage)
    assert found.is_good
    texts = [one.text for one in found.findings]
    assert texts == [
        "there is no key 'optonal': did you mean 'optional'",
        "acme/b is named without a version, which a package needs",
    ]


@pytest.mark.cnb("BPD-10")
def test_a_composite_that_names_itself_cannot_be_used(place: Path, stage: Stage) -> None:
    head = GOOD.partition("[[targets]]")[0]
    (place / "buildpack.toml").write_text(f'{head}[[order]]\n[[order.group]]\nid = "acme/a"\n')
    found = validate(str(place), stage)
    assert not found.is_good
    assert [(one.text, one.at.rpartition(":")[2]) for one in found.findings] == [
        ("it is part of itself", "12, key order[0].group[0].id")
    ]


def test_what_only_packrunner_puts_right_is_said(place: Path, stage: Stage) -> None:
    (place / "bin" / "detect").chmod(0o644)
    (place / "buildpack.toml").write_text(GOOD.partition("[[targets]]")[0])
    fixes = [one.fix for one in validate(str(place), stage).findings]
    assert fixes == ['[[targets]] with os = "linux"', f"chmod +x {place}/bin/detect"]


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        ("bin/build", "echo\n", "not executable"),
        ("buildpack.toml", "api = ", "not TOML"),
        ("buildpack.toml", GOOD.replace("1.0.0", "1.0"), "not a version"),
        ("buildpack.toml", None, "holds no buildpack.toml"),
        ("bin/build", None, "is missing"),
    ],
)
def test_what_cannot_be_used_is_an_error(place: Path, stage: Stage, path: str, content: str | None, why: str) -> None:
    if content is None:
        (place / path).unlink()
    else:
        (place / path).write_text(content)
    found = validate(str(place), stage)
    assert not found.is_good
    assert why in found.findings[0].text


def test_an_extension_is_looked_over_too(tmp_path: Path, stage: Stage) -> None:
    made = tmp_path / "e"
    (made / "bin").mkdir(parents=True)
    (made / "extension.toml").write_text('api = "0.12"\n[extension]\nid = "acme/e"\nversion = "1.0.0"\nnme = "x"\n')
    (made / "bin" / "generate").write_text("#!/bin/sh\n")
    found = validate(str(made), stage)
    assert (found.name, found.kind) == ("acme/e@1.0.0", "extension")
    assert [one.fix for one in found.findings] == ["name = ...", f"chmod +x {made}/bin/generate"]


@pytest.mark.parametrize(
    ("content", "text", "fix"),
    [
        (b"", "is empty", "start it with a line like #!/bin/sh: {}:1"),
        (b"echo\n", "is not executable", "start it with a line like #!/bin/sh: {}:1"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "begins with a byte order mark", r"sed -i '1s/^\xef\xbb\xbf//' {}"),
    ],
)
def test_a_program_that_cannot_be_started_says_why(
    place: Path, stage: Stage, content: bytes, text: str, fix: str
) -> None:
    program = place / "bin" / "detect"
    program.write_bytes(content)
    (found,) = validate(str(place), stage).findings
    assert text in found.text
    assert found.fix == fix.format(program)


def test_a_descriptor_may_begin_as_editors_of_windows_do(place: Path, stage: Stage) -> None:
    text = GOOD.replace('api = "0.12"', 'api = "0.12"\nsurprise = 1').replace("\n", "\r\n")
    (place / "buildpack.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (found,) = validate(str(place), stage).findings
    assert "no key 'surprise'" in found.text
    assert "buildpack.toml:2" in found.at


def test_what_is_not_there_is_said_to_be_missing(tmp_path: Path, stage: Stage) -> None:
    (missing,) = validate(str(tmp_path / "nothing"), stage).findings
    assert missing.text.endswith("nothing does not exist")
    (tmp_path / "file").write_text("")
    (wrong,) = validate(str(tmp_path / "file"), stage).findings
    assert wrong.text.endswith("file is not a directory")
