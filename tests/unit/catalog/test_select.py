"""From what is asked for to staged buildpacks in an order."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from packrunner.catalog.builtin import builtin_dir, sdk_dir, short_names
from packrunner.catalog.locate import locate_extension
from packrunner.catalog.select import Around, CatalogSettings, Selection, select
from packrunner.catalog.wanted import Groups, Wanted
from packrunner.errors import BuildpackApiError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, name: str, *, identity: str = "", version: str = "1.0.0", more: str = "") -> Path:
    """A buildpack in `root`/`name` that has everything it needs."""
    place = root / name
    (place / "bin").mkdir(parents=True)
    text = f'api = "0.12"\n[buildpack]\nid = "{identity or "packrunner/" + name}"\nversion = "{version}"\n{more}'
    (place / "buildpack.toml").write_text(text)
    for program in ("detect", "build"):
        (place / "bin" / program).write_text("#!/bin/sh\n")
        (place / "bin" / program).chmod(0o755)
    return place


@pytest.fixture
def settings(tmp_path: Path) -> CatalogSettings:
    builtins = tmp_path / "buildpacks"
    for name in ("python", "java", "pre", "post"):
        write(builtins, name)
    (builtins / "order.toml").write_text(
        '[[order]]\n[[order.group]]\nid = "packrunner/java"\n[[order]]\n[[order.group]]\nid = "packrunner/python"\n'
    )
    (builtins / "system.toml").write_text(
        '[[system.pre.buildpacks]]\nid = "packrunner/pre"\noptional = true\n'
        '[[system.post.buildpacks]]\nid = "packrunner/post"\n'
    )
    sdk = tmp_path / "sdk"
    sdk.mkdir()
    (sdk / "__init__.py").write_text("")
    (sdk / "detect.py").write_text("x = 1\n")
    return CatalogSettings(stage_dir=str(tmp_path / "stage"), builtin_dir=str(builtins), sdk_dir=str(sdk))


def groups(selection: Selection) -> list[list[str]]:
    return [[f"{ref.id}@{ref.version}" for ref in group.group] for group in selection.order.order]


def shown(selection: Selection) -> list[str]:
    return sorted(
        f"{identity}/{version}"
        for identity in os.listdir(selection.root)
        for version in os.listdir(os.path.join(selection.root, identity))
    )


def test_nothing_asked_for_means_the_builtin_order(settings: CatalogSettings) -> None:
    found = select((), settings=settings)
    assert groups(found) == [["packrunner/java@1.0.0"], ["packrunner/python@1.0.0"]]
    (pre,) = found.system.system.pre.buildpacks
    (post,) = found.system.system.post.buildpacks
    assert (pre.id, pre.version, pre.optional) == ("packrunner/pre", "1.0.0", True)
    assert (post.id, post.version, post.optional) == ("packrunner/post", "1.0.0", False)
    assert shown(found) == [f"packrunner_{n}/1.0.0" for n in ("java", "post", "pre", "python")]
    assert [b.short for b in found.buildpacks.values()] == ["java", "python", "pre", "post"]


@pytest.mark.parametrize(
    "asked",
    [("python", "java"), ("python,java",), ("packrunner/python", "java@1.0.0"), ("packrunner/python@1.0.0, java,",)],
)
def test_names_make_one_group_in_their_order(settings: CatalogSettings, asked: tuple[str, ...]) -> None:
    found = select(asked, settings=settings)
    assert groups(found) == [["packrunner/python@1.0.0", "packrunner/java@1.0.0"]]
    assert found.system.system.post.buildpacks


def test_twice_is_once(settings: CatalogSettings) -> None:
    assert groups(select(("python", "packrunner/python"), settings=settings)) == [["packrunner/python@1.0.0"]]


def test_a_directory_is_a_buildpack_when_it_says_so(
    settings: CatalogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = write(tmp_path, "mine", identity="acme/mine", version="2.3.4")
    for asked in ("mine", "./mine", str(mine), "./mine/../mine"):
        found = select((asked,), settings=settings)
        assert groups(found) == [["acme/mine@2.3.4"]]
        assert found.buildpacks["acme/mine", "2.3.4"].source == str(mine)
        assert str(mine) in found.inputs
    monkeypatch.chdir(mine)
    assert groups(select((".",), settings=settings)) == [["acme/mine@2.3.4"]]


def test_a_builtin_name_wins_over_a_directory_unless_it_is_a_path(
    settings: CatalogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "python", identity="acme/python")
    assert groups(select(("python",), settings=settings)) == [["packrunner/python@1.0.0"]]
    assert groups(select(("./python",), settings=settings)) == [["acme/python@1.0.0"]]


def test_a_directory_with_a_comma_in_its_name(
    settings: CatalogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a,b", identity="acme/ab")
    assert groups(select(("./a,b",), settings=settings)) == [["acme/ab@1.0.0"]]


def test_two_with_one_short_name_are_called_by_their_ids(settings: CatalogSettings, tmp_path: Path) -> None:
    mine = write(tmp_path, "mine", identity="acme/python")
    found = select(("python", str(mine)), settings=settings)
    assert [b.short for b in found.buildpacks.values()] == ["packrunner/python", "acme/python", "pre", "post"]


@pytest.mark.parametrize(
    ("asked", "brief", "cause"),
    [
        ("pyhton", "did you mean python", "built in: java, post, pre, python"),
        ("packrunner/Python@3", "did you mean python", "built in"),
        ("rust", "there is no buildpack 'rust'", "built in"),
        ("./nowhere", "there is no directory ./nowhere", "buildpack.toml"),
        ("/nowhere,python", "there is no directory /nowhere", "buildpack.toml"),
        ("python@9.9.9", "the version is 1.0.0", ""),
        ("", "names nothing", ""),
        (",", "names nothing", ""),
    ],
)
def test_unknown_ones(settings: CatalogSettings, asked: str, brief: str, cause: str) -> None:
    with pytest.raises(UsageError, match=brief) as caught:
        select((asked,), settings=settings)
    assert caught.value.slug == "unknown-buildpack"
    assert caught.value.exit_code == 2
    assert cause in (caught.value.cause or "")
    assert caught.value.tries


def test_a_directory_without_descriptor_is_said(
    settings: CatalogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for asked in ("empty", "./empty"):
        with pytest.raises(UsageError) as caught:
            select((asked,), settings=settings)
        assert "no buildpack.toml" in caught.value.brief + (caught.value.cause or "")


@pytest.mark.parametrize("asked", ["docker://example.com/a:1", "https://example.com/a.tgz", "oci:dir"])
def test_other_places_need_a_reach(settings: CatalogSettings, asked: str) -> None:
    with pytest.raises(UsageError) as caught:
        select((asked,), settings=settings)
    assert caught.value.slug == "buildpack-locator"
    assert asked in caught.value.brief


@pytest.mark.cnb("PRJ-07")
def test_the_builders_order_stands_where_from_builder_is(settings: CatalogSettings, tmp_path: Path) -> None:
    write(tmp_path, "mine", identity="acme/mine")
    found = select((str(tmp_path / "mine"), "from=builder", "pre"), settings=settings)
    assert groups(found) == [
        ["acme/mine@1.0.0", "packrunner/java@1.0.0", "packrunner/pre@1.0.0"],
        ["acme/mine@1.0.0", "packrunner/python@1.0.0", "packrunner/pre@1.0.0"],
    ]
    with pytest.raises(UsageError, match="twice"):
        select(("from=builder,from=builder",), settings=settings)


@pytest.mark.cnb("BPD-05", "BPD-06")
def test_what_a_composite_names_comes_along(settings: CatalogSettings, tmp_path: Path) -> None:
    order = '[[order]]\n[[order.group]]\nid = "packrunner/python"\n[[order.group]]\nid = "acme/b"\nversion = "1.0.0"\n'
    meta = write(tmp_path, "meta", identity="acme/meta", more=order)
    other = write(tmp_path, "b", identity="acme/b")
    found = select((str(meta), str(other)), settings=settings)
    assert ("packrunner/python", "1.0.0") in found.buildpacks
    with pytest.raises(UsageError, match="no buildpack 'acme/b'") as caught:
        select((str(meta),), settings=settings)
    assert str(caught.value.at).endswith("meta/buildpack.toml:9, key order[0].group[1].id")


@pytest.mark.cnb("BPD-05", "BPD-06")
def test_a_composites_package_toml_says_where_the_others_are(settings: CatalogSettings, tmp_path: Path) -> None:
    orders = {
        "outer": '[[order]]\n[[order.group]]\nid = "acme/inner"\nversion = "1.0.0"\n',
        "inner": '[[order]]\n[[order.group]]\nid = "acme/b"\n[[order.group]]\nid = "packrunner/python"\n',
    }
    named = {"outer": ("../inner",), "inner": ("../b", "packrunner/python", "../outer")}
    for name, order in orders.items():
        place = write(tmp_path, name, identity=f"acme/{name}", more=order)
        uris = "".join(f'[[dependencies]]\nuri = "{uri}"\n' for uri in named[name])
        (place / "package.toml").write_text(f'[buildpack]\nuri = "."\n{uris}')
    b = write(tmp_path, "b", identity="acme/b")
    found = select((str(tmp_path / "outer"),), settings=settings)
    assert {"acme/inner", "acme/b", "packrunner/python"} <= {identity for identity, _ in found.buildpacks}
    assert {str(b), str(tmp_path / "inner")} <= set(found.inputs)


def test_a_package_toml_about_another_directory_says_nothing_about_this_one(
    settings: CatalogSettings, tmp_path: Path
) -> None:
    order = '[[order]]\n[[order.group]]\nid = "acme/b"\n'
    meta = write(tmp_path, "meta", identity="acme/meta", more=order)
    write(tmp_path, "b", identity="acme/b")
    (meta / "package.toml").write_text('[buildpack]\nuri = "../b"\n[[dependencies]]\nuri = "../b"\n')
    with pytest.raises(UsageError, match="no buildpack 'acme/b'"):
        select((str(meta),), settings=settings)


def test_two_buildpacks_with_one_name_are_refused(settings: CatalogSettings, tmp_path: Path) -> None:
    one = write(tmp_path, "one", identity="acme/a")
    two = write(tmp_path, "two", identity="acme/a", more="# other\n")
    with pytest.raises(UsageError, match=r"call themselves acme/a@1\.0\.0"):
        select((str(one), str(two)), settings=settings)


@pytest.mark.cnb("BPD-02")
def test_an_unsupported_api_is_an_error_of_its_own_code(settings: CatalogSettings, tmp_path: Path) -> None:
    bad = write(tmp_path, "bad", identity="acme/bad")
    (bad / "buildpack.toml").write_text('api = "0.99"\n[buildpack]\nid = "acme/bad"\nversion = "1.0.0"\n')
    with pytest.raises(BuildpackApiError) as caught:
        select((str(bad),), settings=settings)
    assert caught.value.exit_code == 12


@pytest.mark.parametrize(
    ("text", "slug", "at"),
    [
        ("api = 1", "toml", "key api"),
        ('api = "0.12"\n', "toml", "buildpack.toml"),
        ('api = "0.12"\n[buildpack', "toml", "buildpack.toml"),
        ('api = "0.12"\n[buildpack]\nid = "a b"\nversion = "1.0.0"', "buildpack-descriptor", "key buildpack.id"),
        ('api = "0.12"\n[buildpack]\nid = "app"\nversion = "1.0.0"', "buildpack-descriptor", "key buildpack.id"),
        ('api = "0.12"\n[buildpack]\nid = ".."\nversion = "1.0.0"', "buildpack-descriptor", "key buildpack.id"),
        ('api = "0.12"\n[buildpack]\nid = "a"\nversion = "1.0"', "buildpack-descriptor", "key buildpack.version"),
        ('api = "0.12"\n[buildpack]\nid = "a"\nversion = "1.0.01"', "buildpack-descriptor", "key buildpack.version"),
        ('api = "0.12"\n[buildpack]\nid = "a"\nversion = "../../.."', "buildpack-descriptor", "key buildpack.version"),
        ('api = "0.12"\n[buildpack]\nid = "a"\n', "buildpack-descriptor", "key buildpack.version"),
        (
            'api = "0.12"\nbuildpack = { id = "a", version = "1.0.0" }\n[[targets]]\n[[order]]\ngroup = []\n',
            "buildpack-descriptor",
            "key targets",
        ),
        (
            'api = "0.12"\n[buildpack]\nid = "a"\nversion = "1.0.0"\n[[order]]\n[[order.group]]\nid = "b//c"\n',
            "buildpack-descriptor",
            "key order[0].group[0].id",
        ),
    ],
)
@pytest.mark.cnb("BPD-03", "BPD-04")
def test_a_descriptor_that_cannot_be_right(
    settings: CatalogSettings, tmp_path: Path, text: str, slug: str, at: str
) -> None:
    bad = write(tmp_path, "bad")
    (bad / "buildpack.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        select((str(bad),), settings=settings)
    assert caught.value.slug == slug
    assert at in (caught.value.at or "")
    assert "bad/buildpack.toml" in (caught.value.at or "")


@pytest.mark.parametrize("name", ["detect", "build"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "is missing"),
        (b"", "is empty"),
        (b"echo hi\n", "not executable"),
        (b"#!/bin/sh\r\nexit 0\r\n", "Windows line ends"),
    ],
)
def test_a_program_that_cannot_start(
    settings: CatalogSettings, tmp_path: Path, name: str, content: bytes | None, text: str
) -> None:
    bad = write(tmp_path, "bad")
    if content is None:
        (bad / "bin" / name).unlink()
    else:
        (bad / "bin" / name).write_bytes(content)
    with pytest.raises(UsageError, match=text) as caught:
        select((str(bad),), settings=settings)
    assert caught.value.slug == "buildpack-program"
    assert f"bad/bin/{name}" in (caught.value.at or "")


def test_composites_need_no_programs(settings: CatalogSettings, tmp_path: Path) -> None:
    meta = write(tmp_path, "meta", more='[[order]]\n[[order.group]]\nid = "packrunner/python"\n')
    (meta / "bin" / "detect").unlink()
    (meta / "bin" / "build").unlink()
    assert groups(select((str(meta),), settings=settings)) == [["packrunner/meta@1.0.0"]]


def test_inputs_are_everything_that_decides(settings: CatalogSettings) -> None:
    base = settings.builtin_dir
    found = select(("python",), settings=settings)
    expected = [f"{base}/python", f"{base}/system.toml", f"{base}/pre", f"{base}/post"]
    assert sorted(found.inputs) == sorted(expected)
    assert f"{base}/order.toml" in select((), settings=settings).inputs


def test_the_sdk_is_an_input_of_those_who_have_it(settings: CatalogSettings, tmp_path: Path) -> None:
    mine = write(tmp_path, "mine", identity="acme/mine", more="[metadata.packrunner]\nsdk = true\n")
    found = select((str(mine),), settings=settings)
    assert settings.sdk_dir in found.inputs
    lib = os.path.join(found.root, "acme_mine/1.0.0/lib/packrunner")
    assert sorted(os.listdir(lib)) == ["__init__.py", "sdk"]
    assert sorted(os.listdir(f"{lib}/sdk")) == ["__init__.py", "detect.py"]


def test_an_installation_without_builtins_says_so(settings: CatalogSettings, tmp_path: Path) -> None:
    empty = CatalogSettings(stage_dir=settings.stage_dir, builtin_dir=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no built-in buildpacks"):
        select((), settings=empty)
    with pytest.raises(UsageError, match="there is no buildpack 'python'"):
        select(("python",), settings=empty)


def test_the_real_builtins_can_be_selected(tmp_path: Path) -> None:
    names = short_names(builtin_dir())
    assert {"python", "environment-variables", "procfile"} <= set(names)
    found = select((), settings=CatalogSettings(stage_dir=str(tmp_path / "stage")))
    assert {ref.id for group in found.order.order for ref in group.group} == {"packrunner/python"}
    before = [ref.id for ref in found.system.system.pre.buildpacks]
    assert before == ["packrunner/environment-variables", "packrunner/live-reload"]
    assert [ref.id for ref in found.system.system.post.buildpacks] == ["packrunner/procfile"]
    assert sdk_dir() in found.inputs
    for name in names:
        staged = select((name,), settings=CatalogSettings(stage_dir=str(tmp_path / "stage")))
        assert f"packrunner/{name}" in {b.id for b in staged.buildpacks.values()}


SCRIPT = Wanted(text="acme/script@0.0.0", inline="echo built > file", shell="/bin/sh", api="0.12")


@pytest.mark.cnb("PRJ-05")
def test_the_projects_group_replaces_the_order_and_gives_way_to_the_command_line(
    settings: CatalogSettings, tmp_path: Path
) -> None:
    mine = write(tmp_path, "mine", identity="acme/mine", version="2.0.0")
    wanted = Groups(
        group=(Wanted(text="packrunner/java"), Wanted(text=str(mine), optional=True)),
        pre=(Wanted(text="packrunner/python"),),
    )
    found = select((), settings=settings, project=wanted)
    assert groups(found) == [["packrunner/java@1.0.0", "acme/mine@2.0.0"]]
    assert [ref.optional for ref in found.order.order[0].group] == [False, True]
    assert groups(select(("python",), settings=settings, project=wanted)) == [["packrunner/python@1.0.0"]]


@pytest.mark.cnb("PRJ-07")
def test_what_comes_before_and_after_wraps_each_group_in_file_order(settings: CatalogSettings, tmp_path: Path) -> None:
    places = {name: str(write(tmp_path, name, identity=f"acme/{name}")) for name in ("a", "b", "y", "z")}
    wanted = Groups(
        pre=(Wanted(text=places["a"]), Wanted(text=places["b"])),
        post=(Wanted(text=places["y"]), Wanted(text=places["z"])),
    )
    ids = [[ref.partition("@")[0] for ref in group] for group in groups(select((), settings=settings, project=wanted))]
    assert ids == [["acme/a", "acme/b", f"packrunner/{middle}", "acme/y", "acme/z"] for middle in ("java", "python")]


@pytest.mark.cnb("PRJ-06", "IMG-04")
def test_a_script_becomes_a_buildpack(settings: CatalogSettings) -> None:
    found = select((), settings=settings, project=Groups(group=(SCRIPT,)))
    assert groups(found) == [["acme/script@0.0.0"]]
    place = os.path.join(found.root, "acme_script", "0.0.0")
    for program in ("detect", "build"):
        assert os.access(os.path.join(place, "bin", program), os.X_OK)
    with open(os.path.join(place, "bin", "build")) as file:
        assert file.read() == "#!/bin/sh\necho built > file\n"
    assert subprocess.run([os.path.join(place, "bin", "detect")], check=False).returncode == 0
    assert not [path for path in found.inputs if "inline" in path]
    assert select((), settings=settings, project=Groups(group=(SCRIPT,))).root == found.root


@pytest.mark.cnb("PRJ-06")
def test_a_scripts_version_is_checked_where_it_was_written(settings: CatalogSettings) -> None:
    with pytest.raises(UsageError) as caught:
        select((), settings=settings, project=Groups(group=(SCRIPT._replace(text="acme/script@1.0"),)))
    assert "project.toml" in (caught.value.at or "")


def write_extension(root: Path, name: str, *, version: str = "1.0.0", more: str = "", program: bool = True) -> Path:
    """An extension in `root`/`name`, with a bin/generate or without any program."""
    place = root / name
    (place / "bin").mkdir(parents=True)
    text = f'api = "0.12"\n{more}[extension]\nid = "acme/{name}"\nversion = "{version}"\n'
    (place / "extension.toml").write_text(text)
    if program:
        (place / "bin" / "generate").write_text("#!/bin/sh\n")
    else:
        (place / "generate").mkdir()
        (place / "generate" / "run.Dockerfile").write_text("FROM x\n")
    return place


@pytest.mark.cnb("EXT-01", "IMG-04", "BPD-12")
def test_extensions_are_one_group_in_their_order_and_mounted_apart(settings: CatalogSettings, tmp_path: Path) -> None:
    second = write_extension(tmp_path, "second", program=False)
    first = write_extension(tmp_path, "first")
    selection = select(("java",), settings=settings, extensions=(str(second), str(first)))
    assert [[ref.id for ref in group.group] for group in selection.order.order_extensions] == [
        ["acme/second", "acme/first"]
    ]
    assert groups(selection) == [["packrunner/java@1.0.0"]]
    assert sorted(os.listdir(selection.extensions_root)) == ["acme_first", "acme_second"]
    assert os.access(os.path.join(selection.extensions_root, "acme_first", "1.0.0", "bin", "generate"), os.X_OK)
    assert {str(first), str(second)} <= set(selection.inputs)
    assert not any("acme" in name for name in shown(selection))


def test_without_extensions_there_is_nothing_to_mount(settings: CatalogSettings) -> None:
    selection = select((), settings=settings)
    assert (selection.extensions_root, selection.extensions, selection.order.order_extensions) == ("", {}, ())


@pytest.mark.cnb("EXT-01", "BPD-03")
@pytest.mark.parametrize(
    ("how", "slug"),
    [
        ({"version": "1.0"}, "buildpack-descriptor"),
        ({"more": "[[order]]\n[[order.group]]\nid = 'x'\n"}, "extension-order"),
        ({"more": "order = 1\n"}, "toml"),
    ],
)
def test_extensions_that_cannot_be_right(
    settings: CatalogSettings, tmp_path: Path, how: dict[str, str], slug: str
) -> None:
    place = write_extension(tmp_path, "e", **how)  # type: ignore[arg-type]  # no key is `program`
    with pytest.raises(UsageError) as caught:
        select(("java",), settings=settings, extensions=(str(place),))
    assert caught.value.slug == slug
    assert "extension.toml" in (caught.value.at or caught.value.brief)


def test_a_directory_without_extension_toml(settings: CatalogSettings, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError) as caught:
            select(("java",), settings=settings, extensions=(str(path),))
        assert caught.value.slug == "unknown-extension"


def test_an_extension_and_a_buildpack_cannot_share_a_name(settings: CatalogSettings, tmp_path: Path) -> None:
    extension = write_extension(tmp_path / "1", "same")
    buildpack = write(tmp_path / "2", "same", identity="acme/same")
    with pytest.raises(UsageError, match="a buildpack and an extension"):
        select((str(buildpack),), settings=settings, extensions=(str(extension),))


def test_what_the_command_line_puts_around_stands_at_the_ends_of_every_group(
    settings: CatalogSettings, tmp_path: Path
) -> None:
    own = write(tmp_path, "own", identity="acme/own")
    around = Around(before=(str(own),), after=("post",))
    ours, last = "acme/own@1.0.0", "packrunner/post@1.0.0"
    assert groups(select((), settings=settings, around=around)) == [
        [ours, "packrunner/java@1.0.0", last],
        [ours, "packrunner/python@1.0.0", last],
    ]
    assert groups(select(("java",), settings=settings, around=around)) == [[ours, "packrunner/java@1.0.0", last]]
    project = Groups(pre=(Wanted("java"),), post=(Wanted("java"),))
    found = groups(select((), settings=settings, project=project, around=Around(before=(str(own),))))
    assert found[1] == [ours, "packrunner/python@1.0.0", "packrunner/java@1.0.0"]


def test_system_buildpacks_can_be_left_out(settings: CatalogSettings) -> None:
    assert select((), settings=settings).system.system.pre.buildpacks
    left = select((), settings=settings, around=Around(system=False)).system
    assert not left.system.pre.buildpacks
    assert not left.system.post.buildpacks


def test_what_the_other_flag_takes_is_sent_there(
    settings: CatalogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ext").mkdir()
    (tmp_path / "ext" / "extension.toml").write_text("")
    write(tmp_path, "bp")
    with pytest.raises(UsageError) as asked:
        select((str(tmp_path / "ext"),), settings=settings)
    assert asked.value.tries == ("--extension ./ext",)
    with pytest.raises(UsageError) as asked:
        locate_extension("bp")
    assert asked.value.tries == ("--buildpack ./bp",)
