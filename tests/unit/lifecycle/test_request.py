from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packrunner.catalog.wanted import Groups, Wanted
from packrunner.config import Config
from packrunner.errors import UsageError
from packrunner.formats import project
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.image_names import name_of_directory
from packrunner.lifecycle.request import BuildRequest, merge

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = b"""
[_]
schema-version = "0.2"
[io.buildpacks]
builder = "debian:trixie"
include = ["src/*"]
[[io.buildpacks.build.env]]
name = "A"
value = "project"
[[io.buildpacks.build.env]]
name = "B"
value = "project"
"""


def test_a_request_survives_json() -> None:
    flags = Flags(cwd="/apps/shop", env=("A=1", "B=\udcff"), outputs=("oci:out",), buildpacks=("python",), verbose=1)
    request = merge(flags, {}, project.read(PROJECT, where="project.toml"), Config(values={"color": "never"}))
    again = BuildRequest.from_json(request.to_json())
    assert again == request
    assert again.env == (("A", "1"), ("B", "\udcff"))


@settings(database=None)
@given(
    st.lists(st.tuples(st.text(), st.text())),
    st.booleans(),
    st.dictionaries(st.text(), st.sampled_from(["flag", "default"])),
)
def test_any_request_survives_json(env: list[tuple[str, str]], rebuild: bool, origins: dict[str, Any]) -> None:
    request = BuildRequest(name="shop", source="/", env=tuple(env), rebuild=rebuild, origins=origins)
    assert BuildRequest.from_plain(json.loads(request.to_json())) == request


@pytest.mark.parametrize("text", ["[]", "{", '{"name": "x"}', '{"name": "x", "source": "/", "color_of": 1}', "3"])
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        BuildRequest.from_json(text)


@pytest.mark.cnb("PRJ-05", "PRJ-06", "PRJ-07")
def test_what_project_toml_asks_for_survives_json() -> None:
    text = b"""
    [_]
    schema-version = "0.2"
    [[io.buildpacks.group]]
    uri = "../mine"
    optional = true
    [[io.buildpacks.group]]
    id = "acme/script"
    script = { api = "0.12", inline = "make" }
    [[io.buildpacks.pre.group]]
    id = "acme/first"
    version = "1.2.3"
    """
    request = merge(Flags(cwd="/", path="/apps/shop"), {}, project.read(text, where="project.toml"))
    assert request.groups == Groups(
        group=(
            Wanted(text="/apps/mine", optional=True),
            Wanted(text="acme/script@0.0.0", inline="make", shell="/bin/sh", api="0.12"),
        ),
        pre=(Wanted(text="acme/first@1.2.3"),),
    )
    assert BuildRequest.from_json(request.to_json()) == request


def test_project_settings_give_way_to_files_and_those_to_flags() -> None:
    flags = Flags(cwd="/", env=("B=flag",), env_files=(("vars", "A=file\nB=file\n# no\nC\n"),))
    request = merge(flags, {"C": "here"}, project.read(PROJECT, where="project.toml"))
    assert request.env == (("A", "file"), ("B", "flag"), ("C", "here"))
    assert request.inherited == ("C",)
    assert request.builder == "debian:trixie"
    assert request.origins["builder"] == "project.toml"
    assert request.include == ("src/*",)


def test_a_variable_without_value_here_is_left_out_and_still_counts() -> None:
    request = merge(Flags(cwd="/", env=("ABSENT",)), {})
    assert request.env == ()
    assert request.inherited == ("ABSENT",)


def test_values_may_hold_equal_signs_and_spaces() -> None:
    request = merge(Flags(cwd="/", env=("A=b=c d ",), env_files=(("f", "E=\n"),)), {})
    assert request.env == (("A", "b=c d "), ("E", ""))


@pytest.mark.parametrize("text", ["", "=x", "a/b=x"])
def test_names_that_cannot_be_files_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        merge(Flags(cwd="/", env=(text,)), {})
    assert caught.value.slug == "env"


@pytest.mark.fault("SBX-32")
def test_what_is_no_variable_is_not_shown_with_its_value() -> None:
    with pytest.raises(UsageError) as caught:
        merge(Flags(cwd="/", env=("a/b=hunter2",)), {})
    assert caught.value.brief == "'a/b' does not name a variable"
    with pytest.raises(UsageError) as caught:
        merge(Flags(cwd="/", env_files=(("vars", "A=1\nMIIE/hunter2\n"),)), {})
    assert (caught.value.brief, caught.value.at) == ("a line does not name a variable", "vars:2")
    with pytest.raises(UsageError) as caught:
        merge(Flags(cwd="/", env=("/" * 100_000,)), {})
    assert len(caught.value.brief) < 100


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/ana/shop", "shop"),
        ("/home/ana/My Shop", "my-shop"),
        ("/home/ana/__x__", "x"),
        ("/home/ana/Ünïcode", "n-code"),
        ("/home/ana/日本", "app"),
        ("/", "app"),
        ("/home/ana/oci", "oci-app"),
        ("/home/ana/Docker Archive", "docker-archive-app"),
        ("/x/" + "a" * 300, "a" * 100),
    ],
)
def test_the_name_comes_from_the_directory(path: str, name: str) -> None:
    assert name_of_directory(path) == name
    assert merge(Flags(cwd="/", path=path), {}).name == name


@settings(database=None)
@given(st.text())
def test_every_directory_gives_a_valid_name(path: str) -> None:
    name = name_of_directory(path)
    assert merge(Flags(cwd="/", image=name), {}).name == name


def test_paths_are_absolute_whatever_they_were() -> None:
    flags = Flags(
        cwd="/apps",
        path="shop/../api",
        outputs=("oci:out", "docker-archive:../x.tar"),
        run_image="oci-archive:base.tar",
        buildpacks=("./mine", "python,/abs/own"),
        env_files=(("vars", ""),),
    )
    request = merge(flags, {})
    assert request.source == "/apps/api"
    assert request.outputs == ("oci:/apps/out", "docker-archive:/x.tar")
    assert request.run_image == "oci-archive:/apps/base.tar"
    assert request.buildpacks == ("/apps/mine", "python", "/abs/own")
    assert request.env_files == ("/apps/vars",)
    assert merge(Flags(cwd="/", run_image="debian:13-base"), {}).run_image == "debian:13-base"


def test_a_path_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    (tmp_path / "c,d.cnb").touch()
    flags = Flags(cwd=str(tmp_path), buildpacks=("./a,b", "a,b", "./c,d.cnb"), before=("./a,b",), after=("x,y",))
    request = merge(flags, {})
    assert request.buildpacks == (f"{tmp_path}/a,b", "a,b", f"{tmp_path}/c,d.cnb")
    assert (request.shape.before, request.shape.after) == ((f"{tmp_path}/a,b",), ("x", "y"))


def test_authorities_have_absolute_paths_or_are_the_hosts() -> None:
    flags = Flags(cwd="/apps", ca_certs=("host", "company.pem"))
    assert merge(flags, {}).ca_certs == ("host", "/apps/company.pem")
    assert merge(Flags(cwd="/apps"), {"PACKRUNNER_CA_CERT": "/a.pem,/b.pem"}).ca_certs == ("/a.pem", "/b.pem")
    assert merge(Flags(cwd="/apps"), {}, config=Config(values={"ca-cert": ("/c.pem",)})).ca_certs == ("/c.pem",)


@pytest.mark.fault("NET-02")
def test_offline_is_for_buildpacks_too() -> None:
    asked = merge(Flags(cwd="/apps", offline=True), {})
    assert (asked.network, asked.origins["network"]) == ("none", "flag")
    offline = merge(Flags(cwd="/apps"), {"PACKRUNNER_OFFLINE": "1", "PACKRUNNER_NETWORK": "host"})
    assert (offline.offline, offline.network) == (True, "none")
    assert merge(Flags(cwd="/apps"), {}).network == "host"
    with pytest.raises(UsageError, match="contradict each other"):
        merge(Flags(cwd="/apps", offline=True, network="host"), {})


def test_the_engine_docker_has_networks_of_its_own() -> None:
    asked = merge(Flags(cwd="/apps", engine="docker", network="of-tests"), {})
    assert (asked.network, asked.sandbox_network, asked.origins["network"]) == ("of-tests", "host", "flag")
    assert merge(Flags(cwd="/apps", engine="docker", network="none"), {}).sandbox_network == "none"
    with pytest.raises(UsageError, match="contradict each other"):
        merge(Flags(cwd="/apps", engine="docker", network="of-tests", offline=True), {})


def test_a_flag_with_an_impossible_value_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        merge(Flags(cwd="/", network="bridge"), {})
    assert caught.value.slug == "config-value"
    assert "host, none" in caught.value.brief


def test_what_project_toml_says_in_vain_is_kept_for_the_reader() -> None:
    text = b'[_]\nschema-version = "0.2"\n[io.buildpacks]\nbuildr = "x"\n'
    request = merge(Flags(cwd="/"), {"PACKRUNNER_BUILDR": "x"}, project.read(text, where="project.toml"))
    assert [text for text, _ in request.warnings] == [
        "PACKRUNNER_BUILDR is not a variable of packrunner",
        "project.toml: io.buildpacks.buildr is not a key of its schema",
    ]


def test_rebuilding_a_request_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from packrunner.lifecycle.request import BuildRequest\n"
        "BuildRequest.from_json(BuildRequest(name='a', source='/').to_json())\n"
        "sys.exit(' '.join(n for n in ('typer', 'tomllib', 'rich', 'pathlib') if n in sys.modules) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
