"""Why a sandbox did not start."""

from __future__ import annotations

import pytest

from packrunner.engines.diagnose import Kernel, apparmor_profile, denied_cause, start_error

DENIED = "bwrap: setting up uid map: Permission denied\n"


@pytest.mark.fault("SBX-41")
@pytest.mark.parametrize(
    ("kernel", "cause", "tried"),
    [
        (Kernel(restricted=True), "apparmor_restrict_unprivileged_userns is 1", "apparmor-profile"),
        (Kernel(forbidden=True), "unprivileged_userns_clone is 0", "sysctl kernel.unprivileged_userns_clone=1"),
        (Kernel(exhausted=True), "max_user_namespaces is 0", "sysctl user.max_user_namespaces"),
        (
            Kernel(container="Docker", restricted=True, filtered=True),
            "inside a container (Docker)",
            "seccomp=unconfined",
        ),
        (Kernel(container="Docker", root=True), "inside a container (Docker)", "seccomp=unconfined"),
        (Kernel(filtered=True), "seccomp filter", "outside of that filter"),
    ],
)
def test_each_refusal_has_its_cause_and_its_fix(kernel: Kernel, cause: str, tried: str) -> None:
    error = start_error(DENIED, kernel)
    assert (error.slug, error.exit_code) == ("userns-denied", 13)
    assert cause in str(error.cause)
    assert any(tried in command for command in error.tries)
    assert error.foreign == (DENIED.strip(),)


def test_root_is_not_told_to_allow_what_it_does_not_need() -> None:
    assert denied_cause(Kernel(restricted=True, forbidden=True, exhausted=True, root=True)) is None


def test_a_refusal_that_nothing_explains_still_has_a_next_step() -> None:
    assert start_error(DENIED, Kernel()).tries == ("packrunner doctor",)


def test_other_failures_show_what_bwrap_said() -> None:
    error = start_error("bwrap: Can't find source path /x: No such file or directory\n", Kernel(restricted=True))
    assert error.slug == "sandbox-failed"
    assert "Can't find source path" in error.foreign[0]
    assert start_error("", Kernel()).cause is not None


def test_the_profile_allows_one_program() -> None:
    text = apparmor_profile("/opt/my env/bwrap")
    assert '"/opt/my env/bwrap" flags=(unconfined)' in text
    assert "userns," in text
