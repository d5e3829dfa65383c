"""What a pack user types, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from packrunner.errors import UsageError
from packrunner.lifecycle.given import Flags
from packrunner.lifecycle.request import BuildRequest, merge
from packrunner.lifecycle.volumes import Volume, bindings_of, parse_volume
from packrunner.lifecycle.wishes import Delivery, Shape

if TYPE_CHECKING:
    from pathlib import Path


def asked(**flags: Any) -> BuildRequest:
    return merge(Flags(cwd="/apps/shop", **flags), {})


def slug(**flags: Any) -> str:
    with pytest.raises(UsageError) as caught:
        asked(**flags)
    return caught.value.slug


def test_a_request_with_wishes_survives_json() -> None:
    request = asked(
        tags=("a:1", "b:2"),
        push=True,
        cache_image="reg.example.com/cache:x",
        volumes=("/etc/hosts:/h:rw",),
        before=("./own,python",),
        uid=7,
        created="12",
    )
    again = BuildRequest.from_json(request.to_json())
    assert again == request
    assert again.shape.volumes[0].writable
    assert again.shape.before == ("/apps/shop/own", "python")


def test_nothing_asked_is_the_default() -> None:
    request = asked()
    assert request.delivery == Delivery()
    assert request.shape == Shape()


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("./data:/data", Volume("/apps/shop/data", "/data")),
        ("/etc/x.pem:/certs/x.pem:ro", Volume("/etc/x.pem", "/certs/x.pem")),
        ("/cache:/home/cnb/.m2:rw", Volume("/cache", "/home/cnb/.m2", writable=True)),
    ],
)
def test_a_volume_is_a_place_here_and_one_inside(text: str, volume: Volume) -> None:
    assert parse_volume(text, "/apps/shop", "/workspace") == volume


@pytest.mark.fault("SBX-19")
@pytest.mark.parametrize(
    "text",
    [
        "./a\nb:/data",
        "./a:/da\0ta",
        "./a:/data:ro:rw",
        "data",
        "data:/data",
        "./data:",
        "./data:data",
        "./data:/a/../cnb",
        "./data:/data:wr",
        "./data:/",
        "./data:/cnb",
        "./data:/cnb/lifecycle",
        "./data:/layers/x",
        "./data:/workspace",
        "./data:/workspace/sub",
        "./data:/platform",
        "./data:/platform/env",
        "./data:/proc/1",
        "./data:/run",
        "./data:/platform/bindings/x:rw",
    ],
)
def test_a_volume_cannot_be_where_the_build_is(text: str) -> None:
    assert slug(volumes=(text,)) == "volume"


def test_the_applications_own_place_is_refused_wherever_it_is() -> None:
    assert slug(volumes=("./x:/app/x",), app_dir="/app") == "volume"
    assert asked(volumes=("./x:/workspace/x",), app_dir="/app").shape.app_dir == "/app"


def test_a_volume_among_the_bindings_is_a_binding(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    volumes = (Volume("/certs", "/platform/bindings/ca"), Volume(str(tmp_path), "/platform/bindings"))
    assert bindings_of(volumes) == (("ca", "/certs"), ("one", f"{tmp_path}/one"), ("two", f"{tmp_path}/two"))
    assert slug(volumes=("./x:/platform/bindings/a/b",)) == "volume"


@pytest.mark.parametrize(
    ("text", "cache"),
    [
        ("type=dir,path=.cache", ("dir", "/apps/shop/.cache")),
        ("type=image,name=reg.example.com/c:1", ("image", "reg.example.com/c:1")),
        ("type=build;format=image;name=reg.example.com/c:1", ("image", "reg.example.com/c:1")),
        ("type=build;format=bind;source=/c", ("dir", "/c")),
        ("type=build;format=volume;name=shop", ("volume", "shop")),
        ("type=build;name=shop", ("volume", "shop")),
    ],
)
def test_a_cache_is_named_our_way_or_packs(text: str, cache: tuple[str, str]) -> None:
    assert asked(caches=(text,)).delivery.cache == cache


@pytest.mark.fault("SBX-19")
@pytest.mark.parametrize(
    "text",
    [
        "type=dir,path=a\nb",
        "type=build;format=volume;name=a/../b",
        "type=build;format=volume;name=a:b",
        ".cache",
        "type=dir",
        "type=registry,name=x",
        "type=build;format=tar;name=x",
        "type=build;format=volume;name=../x",
        "type=dir,path=a,path=b",
        "type=dir,path=a,mode=max",
    ],
)
def test_what_is_no_cache_is_refused(text: str) -> None:
    assert slug(caches=(text,)) == "cache"


def test_there_is_one_cache() -> None:
    assert slug(caches=("type=dir,path=a",), cache_image="x:1") == "cache"
    assert asked(caches=("type=image,name=x:1",), cache_image="x:1").delivery.cache == ("image", "x:1")


def test_a_launch_cache_has_no_effect_and_that_is_said() -> None:
    request = asked(caches=("type=launch;format=volume;name=x",))
    assert request.delivery.cache == ()
    assert "no effect" in request.warnings[0][0]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"platform": "arm64"}, "image-platform"),
        ({"created": "yesterday"}, "creation-time"),
        ({"created": "-1"}, "creation-time"),
        ({"app_dir": "app"}, "workspace"),
        ({"app_dir": "/layers/app"}, "workspace"),
        ({"app_dir": "/"}, "workspace"),
        ({"exec_env": "a/b"}, "exec-env"),
        ({"pull_policy": "sometimes"}, "config-value"),
        ({"compression": "xz"}, "config-value"),
        ({"tags": ("Shop!",)}, "name"),
        ({"process": "a/b"}, "name"),
        ({"cache_image": "Not/Valid"}, "name"),
    ],
)
def test_what_cannot_be_meant_is_refused(flags: dict[str, Any], expected: str) -> None:
    assert slug(**flags) == expected


@pytest.mark.cnb("RES-06")
def test_all_names_of_a_push_are_on_one_registry() -> None:
    names: dict[str, Any] = {"image": "a.example.com/shop", "tags": ("b.example.com/shop",)}
    assert slug(**names, push=True) == "tags"
    assert asked(**names).delivery.tags == ("b.example.com/shop",)
    assert asked(image="a.example.com/shop", tags=("a.example.com/shop:2",), push=True).delivery.push


def test_flags_without_effect_are_said() -> None:
    assert [text for text, _ in asked(idle=("--userns-host",)).warnings] == ["--userns-host has no effect here"]


def test_the_environment_and_the_project_file_have_their_say() -> None:
    request = merge(Flags(cwd="/"), {"PACKRUNNER_PUSH": "yes", "PACKRUNNER_TAG": "a:1,b:2"})
    assert request.delivery.push
    assert request.delivery.tags == ("a:1", "b:2")
    assert request.origins["push"] == "environment"
