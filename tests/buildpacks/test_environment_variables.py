"""BPE_ variables: which file of the layer each becomes, and what the launcher makes of the files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packrunner.environment import apply_files
from packrunner.formats import buildpack, plan
from tests.buildpacks.builtin import ROOT, Buildpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOURCE = ROOT / "buildpacks/environment-variables"


@pytest.fixture
def variables(stage: Callable[[str], Buildpack]) -> Buildpack:
    """The buildpack, with no variable set."""
    return stage("environment-variables")


def written(built: Buildpack) -> dict[str, bytes]:
    """The files for the launched process."""
    directory = built.layers / "variables/env.launch"
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def launched(files: Mapping[str, bytes], **before: str) -> dict[str, str]:
    """The environment of the process, by the rules of the specification."""
    environment = dict(before)
    apply_files(environment, files)
    return environment


def test_descriptor_is_complete() -> None:
    descriptor = buildpack.read((SOURCE / "buildpack.toml").read_bytes(), where="buildpack.toml")
    assert (descriptor.api, descriptor.buildpack.id) == ("0.12", "packrunner/environment-variables")
    assert {(t.os, t.arch) for t in descriptor.targets} == {("linux", "amd64"), ("linux", "arm64")}


@pytest.mark.cnb("DET-11")
def test_detect_declines_without_a_variable(variables: Buildpack) -> None:
    variables.set("PATH_LIKE", "x")
    # What an earlier buildpack puts into the environment is not the user's.
    variables.env["BPE_FROM_ELSEWHERE"] = "x"
    ran = variables.detect()
    assert (ran.code, ran.lines) == (100, ["needs a variable BPE_*"])


@pytest.mark.cnb("DET-10")
def test_detect_provides_and_requires_its_own_name(variables: Buildpack) -> None:
    variables.set("BPE_A", "1")
    assert variables.detect().code == 0
    written_plan = plan.read_detect_plan(variables.plan.read_bytes(), where="plan")
    assert [p.name for p in written_plan.provides] == ["environment-variables"]
    assert [r.name for r in written_plan.requires] == ["environment-variables"]


@pytest.mark.parametrize(
    ("given_name", "file"),
    [
        ("BPE_APPEND_N", "N.append"),
        ("BPE_DEFAULT_N", "N.default"),
        ("BPE_DELIM_N", "N.delim"),
        ("BPE_OVERRIDE_N", "N.override"),
        ("BPE_PREPEND_N", "N.prepend"),
        ("BPE_N", "N"),
        # The first prefix that fits decides, and only one is taken away.
        ("BPE_APPEND_APPEND_N", "APPEND_N.append"),
        ("BPE_DEFAULTS", "DEFAULTS"),
        ("BPE_BPE_N", "BPE_N"),
        ("BPE_append_n", "append_n"),
    ],
)
@pytest.mark.cnb("BLD-22")
def test_each_prefix_becomes_its_file(variables: Buildpack, given_name: str, file: str) -> None:
    variables.set(given_name, "value")
    assert variables.build().code == 0
    assert written(variables) == {file: b"value"}
    assert variables.toml("variables.toml") == {"types": {"launch": True}}


@pytest.mark.parametrize(
    ("given_variables", "before", "after"),
    [
        ({"BPE_N": "new"}, {"N": "old"}, "new"),
        ({"BPE_OVERRIDE_N": "new"}, {"N": "old"}, "new"),
        ({"BPE_DEFAULT_N": "new"}, {"N": "old"}, "old"),
        ({"BPE_DEFAULT_N": "new"}, {"N": ""}, "new"),
        ({"BPE_DEFAULT_N": "new"}, {}, "new"),
        ({"BPE_APPEND_N": "b"}, {"N": "a"}, "ab"),
        ({"BPE_APPEND_N": "b", "BPE_DELIM_N": ":"}, {"N": "a"}, "a:b"),
        ({"BPE_APPEND_N": "b", "BPE_DELIM_N": ":"}, {}, "b"),
        ({"BPE_PREPEND_N": "b", "BPE_DELIM_N": ", "}, {"N": "a"}, "b, a"),
        ({"BPE_N": "x", "BPE_APPEND_N": "y", "BPE_DELIM_N": "-"}, {"N": "a"}, "x-y"),
    ],
)
@pytest.mark.cnb("BLD-23")
def test_what_the_process_sees(
    variables: Buildpack, given_variables: dict[str, str], before: dict[str, str], after: str
) -> None:
    for name, value in given_variables.items():
        variables.set(name, value)
    assert variables.build().code == 0
    assert launched(written(variables), **before)["N"] == after


@pytest.mark.parametrize("name", ["BPE_", "BPE_APPEND_", "BPE_FOO.bar", "BPE_OVERRIDE_A.default"])
def test_names_that_cannot_be_are_left_out_with_a_warning(variables: Buildpack, name: str) -> None:
    variables.set(name, "x")
    variables.set("BPE_GOOD", "y")
    ran = variables.build()
    assert ran.code == 0
    assert f"warning: {name} does not name a variable and is left out" in ran.lines
    assert written(variables) == {"GOOD": b"y"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["BPE_DELIM_X"], "BPE_DELIM_X has no effect without a value to append or prepend"),
        (["BPE_DEFAULT_PATH"], "BPE_DEFAULT_PATH has no effect, because PATH is always set"),
        (["BPE_PREPEND_PYTHONPATH"], "BPE_PREPEND_PYTHONPATH is joined without a separator"),
        (["BPE_API_TOKEN"], "BPE_API_TOKEN looks like a secret, and everyone who has the image can read it"),
        (["BPE_DEFAULT_DB_PASSWORD"], "BPE_DEFAULT_DB_PASSWORD looks like a secret"),
    ],
)
def test_likely_mistakes_are_warned_about(variables: Buildpack, names: list[str], words: str) -> None:
    for name in names:
        variables.set(name, "value-of-it")
    ran = variables.build()
    assert ran.code == 0
    assert words in ran.output
    assert "value-of-it" not in ran.output


@pytest.mark.parametrize(
    "names", [["BPE_DELIM_X", "BPE_APPEND_X"], ["BPE_PREPEND_PATH", "BPE_DELIM_PATH"], ["BPE_GREETING"]]
)
def test_what_is_right_is_not_warned_about(variables: Buildpack, names: list[str]) -> None:
    for name in names:
        variables.set(name, ":")
    assert variables.build().output == ""


def test_the_values_are_in_no_metadata(variables: Buildpack) -> None:
    variables.set("BPE_GREETING", "value-of-it")
    assert variables.build().code == 0
    beside = [path for path in variables.layers.rglob("*.toml") if b"value-of-it" in path.read_bytes()]
    assert beside == []
    assert variables.step == "sets GREETING"


def test_other_platforms_find_only_the_layer(variables: Buildpack) -> None:
    variables.conventions = False
    variables.set("BPE_GREETING", "hi")
    assert variables.build().code == 0
    assert sorted(p.name for p in variables.layers.iterdir()) == [
        "variables",
        "variables.toml",
    ]


def test_the_same_variables_give_the_same_layer(variables: Buildpack) -> None:
    for name in ("BPE_B", "BPE_A", "BPE_DEFAULT_C"):
        variables.set(name, name)
        (variables.platform_env / name).chmod(0o600)
    assert variables.build().code == 0
    first = variables.files("variables")
    variables.restore()
    assert variables.build().code == 0
    assert variables.files("variables") == first
    assert {content[:4] for content in first.values()} == {b"644 "}


PREFIXES = ("APPEND_", "DEFAULT_", "DELIM_", "OVERRIDE_", "PREPEND_")


def expected_file(name: str) -> str:
    """The table of peers' behaviour, written once more: the reference of the property below."""
    rest = name.removeprefix("BPE_")
    for prefix in PREFIXES:
        if rest.startswith(prefix):
            return f"{rest.removeprefix(prefix)}.{prefix[:-1].lower()}"
    return rest


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.builds(
            "BPE_{}{}".format,
            st.sampled_from(("", *PREFIXES)),
            st.text("ABCDELIMPREPENDOVR_xyz09-é", min_size=1, max_size=12),
        ),
        st.binary(max_size=40).map(lambda value: value.replace(b"\0", b"")),
        min_size=1,
        max_size=6,
    )
)
@pytest.mark.cnb("BLD-24")
def test_values_survive_to_the_byte(given_variables: dict[str, bytes]) -> None:
    wanted = {expected_file(name): value for name, value in given_variables.items()}
    if len(wanted) < len(given_variables) or "" in {file.partition(".")[0] for file in wanted}:
        return
    with tempfile.TemporaryDirectory() as directory:
        buildpack_here = Buildpack.stage(SOURCE, Path(directory) / "x")
        for name, value in given_variables.items():
            (buildpack_here.platform_env / name).write_bytes(value)
        assert buildpack_here.build().code == 0
        assert written(buildpack_here) == wanted
