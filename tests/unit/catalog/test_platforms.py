"""One directory for several platforms, as pack has them: each gets its own part, with the descriptor of all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from packrunner.catalog import platforms
from packrunner.catalog.stage import Stage
from packrunner.catalog.validate import validate
from packrunner.errors import UsageError

DESCRIPTOR = 'api = "0.12"\n[buildpack]\nid = "acme/tool"\nversion = "1.0.0"\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    place = tmp_path / "tool"
    for part in ("linux/amd64", "linux/arm64/v8", "linux"):
        for name in ("detect", "build"):
            path = place / part / "bin" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/bin/sh\n# {part}\n")
    (place / "buildpack.toml").write_text(DESCRIPTOR)
    (place / "README.md").write_text("for people")
    return place


def stage(tmp_path: Path, platform: str) -> Stage:
    (tmp_path / "sdk").mkdir(exist_ok=True)
    return Stage(str(tmp_path / "stage"), sdk_dir=str(tmp_path / "sdk"), platform=platform)


@pytest.mark.parametrize(
    ("platform", "part"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64", "linux"),
        ("linux/s390x", "linux"),
    ],
)
def test_the_nearest_directory_is_taken(tmp_path: Path, source: Path, platform: str, part: str) -> None:
    found = stage(tmp_path, platform).add(str(source))
    assert (Path(found.path) / "bin" / "build").read_text() == f"#!/bin/sh\n# {part}\n"
    assert (Path(found.path) / "buildpack.toml").read_text() == DESCRIPTOR
    assert not (Path(found.path) / "README.md").exists()


@pytest.mark.cnb("DST-07", "TGT-01")
@pytest.mark.parametrize(
    ("platform", "part"),
    [
        ("linux/amd64/debian@13", "linux/amd64/debian@13"),
        ("linux/amd64/debian@12", "linux/amd64"),
        ("linux/arm64/v8/ubuntu@24.04", "linux/arm64/v8/ubuntu@24.04"),
        ("linux/arm64/v8/debian@13", "linux/arm64/v8"),
        ("linux/s390x/debian@13", "linux"),
    ],
)
def test_a_directory_may_be_for_a_distribution(tmp_path: Path, source: Path, platform: str, part: str) -> None:
    for name in ("linux/amd64/debian@13", "linux/arm64/v8/ubuntu@24.04"):
        (source / name / "bin").mkdir(parents=True)
        for program in ("detect", "build"):
            (source / name / "bin" / program).write_text(f"#!/bin/sh\n# {name}\n")
    found = stage(tmp_path, platform).add(str(source))
    assert (Path(found.path) / "bin" / "build").read_text() == f"#!/bin/sh\n# {part}\n"


def test_one_for_other_distributions_is_told_how_to_be_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "tool"
    (place / "linux/amd64/debian@13/bin").mkdir(parents=True)
    (place / "buildpack.toml").write_text(DESCRIPTOR)
    with pytest.raises(UsageError) as caught:
        stage(tmp_path, "linux/amd64/debian@12").add(str(place))
    assert caught.value.cause == "it has linux/amd64/debian@13"
    assert caught.value.tries[1] == "--target linux/amd64:debian@13"


def test_the_same_place_is_another_buildpack_on_another_platform(tmp_path: Path, source: Path) -> None:
    time.sleep(0.05)  # what is as new as the clock's tick is not recorded
    first = stage(tmp_path, "linux/amd64").add(str(source))
    second = stage(tmp_path, "linux/s390x").add(str(source))
    assert first.digest != second.digest
    assert stage(tmp_path, "linux/amd64").add(str(source)).digest == first.digest


def test_a_changed_descriptor_is_noticed(tmp_path: Path, source: Path) -> None:
    first = stage(tmp_path, "linux/amd64").add(str(source))
    (source / "buildpack.toml").write_text(DESCRIPTOR.replace("1.0.0", "2.0.0"))
    assert stage(tmp_path, "linux/amd64").add(str(source)).version == "2.0.0"
    assert first.version == "1.0.0"


def test_a_platform_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, source: Path) -> None:
    for name in ("detect", "build"):
        (source / "linux" / "bin" / name).unlink()
    (source / "linux" / "bin").rmdir()
    with pytest.raises(UsageError) as caught:
        stage(tmp_path, "linux/s390x").add(str(source), shown="./tool")
    assert caught.value.slug == "buildpack-target"
    assert caught.value.cause == "it has linux/amd64, linux/arm64/v8"
    assert caught.value.at == "./tool/linux/s390x"


def test_each_part_is_looked_over_for_its_author(tmp_path: Path, source: Path) -> None:
    (source / "linux" / "arm64" / "v8" / "bin" / "detect").unlink()
    found = validate(str(source), stage(tmp_path, ""))
    assert not found.is_good
    assert [one.at for one in found.findings if one.level == "error"] == [f"{source}/linux/arm64/v8/bin/detect"]


def test_a_second_descriptor_is_refused(tmp_path: Path, source: Path) -> None:
    (source / "linux" / "amd64" / "buildpack.toml").write_text(DESCRIPTOR)
    with pytest.raises(UsageError, match=r"a second buildpack\.toml"):
        stage(tmp_path, "linux/amd64").add(str(source))


def test_a_buildpack_with_programs_at_its_top_is_one_by_itself(tmp_path: Path, source: Path) -> None:
    (source / "bin").mkdir()
    for name in ("detect", "build"):
        (source / "bin" / name).write_text("#!/bin/sh\n# top\n")
    found = stage(tmp_path, "linux/amd64").add(str(source))
    assert (Path(found.path) / "bin" / "build").read_text() == "#!/bin/sh\n# top\n"
    assert (Path(found.path) / "linux" / "amd64" / "bin" / "build").exists()


def test_links_are_not_followed_into_other_directories(tmp_path: Path, source: Path) -> None:
    os.symlink(source / "linux" / "amd64", source / "linux" / "riscv64")
    assert platforms.folders(str(source)) == ("linux", "linux/amd64", "linux/arm64/v8")
