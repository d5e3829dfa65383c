"""Environment rules, to the letter."""

from __future__ import annotations

import os

import pytest

from packrunner.environment import BuildEnv, LayerEnv, apply_files, buildpack_env, target_env

IMAGE = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "JAVA_HOME": "/java", "HOME": "/image"}


def env(platform: dict[str, str] | None = None, **more: str) -> dict[str, str]:
    return buildpack_env({**IMAGE, **more}, platform or {}, clear_env=False, home="/home/cnb")


@pytest.mark.cnb("DET-04")
def test_only_the_allow_list_survives() -> None:
    kept = [
        *("PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH", "HOSTNAME", "CNB_STACK_ID"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    ]
    image = {name: f"<{name}>" for name in [*kept, "LANG", "FOO", "CNB_USER_ID", "LD_PRELOAD", "Path"]}
    found = buildpack_env(image, {}, clear_env=False, home="/h")
    assert found == {**{name: f"<{name}>" for name in kept}, "HOME": "/h"}


@pytest.mark.cnb("DET-05")
def test_home_is_the_users_own_and_not_the_images() -> None:
    assert env()["HOME"] == "/home/cnb"


@pytest.mark.cnb("DET-06")
def test_a_users_value_is_taken_as_it_is_and_suffixes_mean_nothing() -> None:
    found = env({"KEEP": "a \n", "A.append": "x", "EMPTY": ""})
    assert found["KEEP"] == "a \n"
    assert found["A.append"] == "x"
    assert found["EMPTY"] == ""
    assert "A" not in found


@pytest.mark.cnb("DET-07")
@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH"])
def test_a_users_path_goes_in_front(name: str) -> None:
    assert env({name: "/mine"}, **{name: "/old"})[name] == "/mine:/old"
    if name != "PATH":
        assert env({name: "/mine"})[name] == "/mine"


@pytest.mark.cnb("DET-07")
def test_any_other_value_replaces() -> None:
    assert env({"HTTP_PROXY": "mine"}, HTTP_PROXY="old")["HTTP_PROXY"] == "mine"
    assert env({"CLASSPATH": "mine"})["CLASSPATH"] == "mine"


@pytest.mark.cnb("DET-08")
def test_clear_env_keeps_the_users_values_out_but_not_the_operators() -> None:
    found = buildpack_env(
        IMAGE, {"FOO": "user", "PATH": "/mine"}, clear_env=True, home="/h", operator={"BAR": b"operator"}
    )
    assert "FOO" not in found
    assert found["PATH"] == "/usr/bin"
    assert found["BAR"] == "operator"


@pytest.mark.cnb("DET-09")
@pytest.mark.parametrize(
    ("file", "user", "expected"),
    [
        ("FOO", "user", "user"),
        ("FOO", None, "op"),
        ("FOO", "", "op"),
        ("FOO.default", "user", "user"),
        ("FOO.override", "user", "op"),
        ("FOO.append", "user", "userop"),
        ("FOO.prepend", "user", "opuser"),
        ("FOO.bar", "user", "user"),
    ],
)
def test_operator_files_without_suffix_are_defaults(file: str, user: str | None, expected: str) -> None:
    platform = {} if user is None else {"FOO": user}
    found = buildpack_env(IMAGE, platform, clear_env=False, home="/h", operator={file: b"op"})
    assert found["FOO"] == expected


def test_trust_is_below_the_users_values_and_above_the_images() -> None:
    image = {"HTTPS_PROXY": "http://image"}
    trust = {"HTTPS_PROXY": "http://host", "SSL_CERT_FILE": "/ca.pem"}
    found = buildpack_env(image, {"SSL_CERT_FILE": "/mine.pem"}, clear_env=False, home="/h", trust=trust)
    assert found["HTTPS_PROXY"] == "http://host"
    assert found["SSL_CERT_FILE"] == "/mine.pem"


@pytest.mark.cnb("BLD-22")
@pytest.mark.parametrize(
    ("file", "before", "expected"),
    [
        ("FOO", "old", "new"),
        ("FOO", None, "new"),
        ("FOO.override", "old", "new"),
        ("FOO.append", "old", "oldnew"),
        ("FOO.append", None, "new"),
        ("FOO.prepend", "old", "newold"),
        ("FOO.prepend", None, "new"),
        ("FOO.default", "old", "old"),
        ("FOO.default", "", "new"),
        ("FOO.default", None, "new"),
        ("FOO.delim", "old", "old"),
        ("FOO.bar", "old", "old"),
        ("FOO.append.x", "old", "old"),
        ("FOO.", "old", "new"),
        (".append", "old", "old"),
    ],
)
def test_actions(file: str, before: str | None, expected: str) -> None:
    variables = {} if before is None else {"FOO": before}
    apply_files(variables, {file: b"new"})
    assert variables == {"FOO": expected}


@pytest.mark.cnb("BLD-22")
@pytest.mark.parametrize("file", ["FOO.delim", "FOO.bar", ".override", "A=B", "A=B.append"])
def test_files_that_set_nothing(file: str) -> None:
    variables: dict[str, str] = {}
    apply_files(variables, {file: b"new"})
    assert variables == {}


@pytest.mark.cnb("BLD-23")
@pytest.mark.parametrize(
    ("action", "before", "delim", "expected"),
    [
        ("append", "a", None, "ab"),
        ("append", "a", b":", "a:b"),
        ("append", "a", b", \n", "a, \nb"),
        ("append", "", b":", "b"),
        ("append", None, b":", "b"),
        ("prepend", "a", b":", "b:a"),
        ("prepend", "", b":", "b"),
        ("prepend", "a", None, "ba"),
    ],
)
def test_delimiters(action: str, before: str | None, delim: bytes | None, expected: str) -> None:
    variables = {} if before is None else {"FOO": before}
    files = {f"FOO.{action}": b"b"} | ({} if delim is None else {"FOO.delim": delim})
    apply_files(variables, files)
    assert variables["FOO"] == expected


@pytest.mark.cnb("BLD-23")
def test_a_delimiter_of_another_directory_does_not_count() -> None:
    layer = LayerEnv(path="/l", env={"FOO.append": b"b"}, env_build={"FOO.delim": b":"})
    assert BuildEnv({"FOO": "a"}).after([layer]).variables["FOO"] == "ab"


@pytest.mark.cnb("BLD-24")
def test_values_are_bytes_and_nothing_is_expanded() -> None:
    variables: dict[str, str] = {}
    apply_files(variables, {"A": b"$HOME\n", "B": b"\xff\xfe `id`"})
    assert variables["A"] == "$HOME\n"
    assert os.fsencode(variables["B"]) == b"\xff\xfe `id`"


@pytest.mark.cnb("BLD-24")
def test_several_files_apply_in_the_order_of_their_names() -> None:
    files = {"V.prepend": b"p", "V.override": b"o", "V.default": b"d", "V.append": b"a"}
    variables = {"V": "x"}
    apply_files(variables, files)
    assert variables["V"] == "po"
    del files["V.override"]
    variables = {}
    apply_files(variables, files)
    assert variables["V"] == "pa"


@pytest.mark.cnb("BLD-17")
def test_root_directories_join_their_variables() -> None:
    layer = LayerEnv(path="/layers/bp/a", dirs=frozenset({"bin", "lib", "include", "pkgconfig", "share"}))
    found = BuildEnv({"PATH": "/usr/bin"}).after([layer]).variables
    assert found == {
        "PATH": "/layers/bp/a/bin:/usr/bin",
        "LD_LIBRARY_PATH": "/layers/bp/a/lib",
        "LIBRARY_PATH": "/layers/bp/a/lib",
        "CPATH": "/layers/bp/a/include",
        "PKG_CONFIG_PATH": "/layers/bp/a/pkgconfig",
    }


@pytest.mark.cnb("BLD-18")
def test_later_comes_first_in_path_variables() -> None:
    def one(path: str) -> LayerEnv:
        return LayerEnv(path=path, dirs=frozenset({"bin"}))

    first = BuildEnv({}).after([one("/l/x/a"), one("/l/x/b")])
    assert first.variables["PATH"] == "/l/x/b/bin:/l/x/a/bin"
    assert first.after([one("/l/y/c")]).variables["PATH"] == "/l/y/c/bin:/l/x/b/bin:/l/x/a/bin"


@pytest.mark.cnb("BLD-19")
def test_env_then_env_build() -> None:
    layer = LayerEnv(path="/l", env={"A": b"env", "B": b"env"}, env_build={"A": b"build"})
    found = BuildEnv({}).after([layer]).variables
    assert found == {"A": "build", "B": "env"}


@pytest.mark.cnb("BLD-20")
def test_layer_by_layer() -> None:
    a = LayerEnv(path="/l/a", dirs=frozenset({"bin"}), env={"PATH.override": b"/only"})
    b = LayerEnv(path="/l/b", dirs=frozenset({"bin"}))
    assert BuildEnv({"PATH": "/usr/bin"}).after([a, b]).variables["PATH"] == "/l/b/bin:/only"


@pytest.mark.cnb("BLD-21")
def test_the_users_values_are_on_top_at_each_call_and_never_become_part_of_the_base() -> None:
    layer = LayerEnv(path="/l/a", dirs=frozenset({"bin"}), env={"FOO": b"buildpack"})
    grown = BuildEnv.start({"PATH": "/usr/bin"}, home="/h").after([layer])
    found = grown.for_buildpack({"FOO": "user", "PATH": "/mine"})
    assert found["FOO"] == "user"
    assert found["PATH"] == "/mine:/l/a/bin:/usr/bin"
    assert grown.variables["FOO"] == "buildpack"
    assert grown.for_buildpack({"FOO": "user"}, clear_env=True)["FOO"] == "buildpack"


@pytest.mark.cnb("BLD-25")
@pytest.mark.parametrize(
    ("action", "expected"),
    [("append", "1a1b2a2b"), ("prepend", "2b2a1b1a"), ("override", "2b"), ("default", "1a")],
)
def test_order_over_two_buildpacks_with_two_layers(action: str, expected: str) -> None:
    def layers(buildpack: int) -> list[LayerEnv]:
        return [LayerEnv(path=f"/{n}", env={f"V.{action}": f"{buildpack}{n}".encode()}) for n in "ab"]

    assert BuildEnv({}).after(layers(1)).after(layers(2)).variables["V"] == expected


@pytest.mark.cnb("BLD-25")
@pytest.mark.parametrize(
    ("action", "expected"), [("append", "eb"), ("prepend", "be"), ("override", "b"), ("default", "e")]
)
def test_env_comes_before_env_build(action: str, expected: str) -> None:
    layer = LayerEnv(path="/l", env={f"V.{action}": b"e"}, env_build={f"V.{action}": b"b"})
    assert BuildEnv({}).after([layer]).variables["V"] == expected


@pytest.mark.cnb("TGT-08")
def test_target_variables_appear_only_where_known() -> None:
    assert target_env(("linux", "amd64", "", "", "")) == {"CNB_TARGET_OS": "linux", "CNB_TARGET_ARCH": "amd64"}
    assert target_env(("linux", "arm64", "v8", "debian", "13")) == {
        "CNB_TARGET_OS": "linux",
        "CNB_TARGET_ARCH": "arm64",
        "CNB_TARGET_ARCH_VARIANT": "v8",
        "CNB_TARGET_DISTRO_NAME": "debian",
        "CNB_TARGET_DISTRO_VERSION": "13",
    }


@pytest.mark.fault("SBX-18")
def test_what_a_buildpack_sets_stays_in_the_value_for_later_buildpacks() -> None:
    before = dict(os.environ)
    layer = LayerEnv(path="/l", env={"LD_PRELOAD": b"/evil.so", "PATH.override": b"/evil"})
    assert BuildEnv({}).after([layer]).for_buildpack({})["LD_PRELOAD"] == "/evil.so"
    assert dict(os.environ) == before
