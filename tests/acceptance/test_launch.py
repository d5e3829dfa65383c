"""What the launcher starts in an image that packrunner built; `launcher/internal/launch` has the fine points."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.launching import launch_application, launch_buildpacks

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli

pytestmark = [pytest.mark.sandbox, pytest.mark.network]


@pytest.fixture(scope="module")
def image(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image with every kind of process."""
    path = tmp_path_factory.mktemp("launch")
    buildpacks = [arg for buildpack in launch_buildpacks(path) for arg in ("-b", str(buildpack))]
    cli.ok("build", "launch-forms", "-p", str(launch_application(path / "app")), *buildpacks)
    return "launch-forms"


def environment_of(out: str) -> dict[str, str]:
    """What `env -0` printed."""
    return dict(pair.split("=", 1) for pair in out.split("\0") if pair)


@pytest.mark.cnb("LAU-01", "LAU-06", "LAU-09")
def test_the_entrypoint_names_the_process_and_arguments_replace_its_own(cli: Cli, image: str) -> None:
    assert "ORDER" in environment_of(cli.ok("run", image).out)
    assert cli.ok("run", image, "--process", "dotted.type").out == "[always][own]"
    assert cli.ok("run", image, "--process", "dotted.type", "--", "mine", "$HOME").out == "[always][mine][$HOME]"
    assert cli.ok("run", image, "--process", "where").out == "/workspace/sub\n"


@pytest.mark.cnb("LAU-04")
def test_a_program_of_the_user_is_found_where_layers_put_it(cli: Cli, image: str) -> None:
    assert cli.ok("run", image, "--command", "--", "tool", "$A").out == "tool /workspace $A\n"


@pytest.mark.cnb("LAU-05", "LAU-17")
def test_a_command_of_the_user_goes_through_the_shell(cli: Cli, image: str) -> None:
    again = ("env", "CNB_PLATFORM_API=0.15", "/cnb/lifecycle/launcher")  # `run --command` itself says `--`
    shell = ("run", image, "-e", "A=value", "--command", "--", *again)
    assert cli.ok(*shell, "echo $A | tr a-z A-Z").out == "VALUE\n"
    assert cli.ok(*shell, "printf", "[%s]", "$A", "'$A'", "*").out == "[value]['value'][*]"
    assert cli.ok(*shell, "echo $PROFILED").out == "general own\n"
    assert cli.ok(*shell, "--", "printenv", "A").out == "value\n"
    assert cli(*shell, "--", "printenv", "PROFILED").code == 1


@pytest.mark.cnb("LAU-07", "LAU-17")
def test_processes_of_an_older_buildpack_keep_their_shell_and_their_arguments(cli: Cli, image: str) -> None:
    assert cli.ok("run", image, "--process", "script").out == "general typed own bash\n/workspace/sub\n"
    assert cli.ok("run", image, "--process", "tokens", "--", "$PROFILED").out == "[ general own][a  b][ general own]"
    assert cli.ok("run", image, "--process", "direct", "--", "more").out == "[$PROFILED][more]"


@pytest.mark.cnb("LAU-08")
def test_a_process_of_another_execution_environment_is_refused(cli: Cli, image: str) -> None:
    refused = cli("run", image, "--process", "everywhere")
    assert refused.code == 82
    assert "execution environment" in refused.err
    assert cli.ok("run", image, "--process", "everywhere", "-e", "CNB_EXEC_ENV=test").out == "for tests\n"


@pytest.mark.cnb("LAU-10", "LAU-11", "LAU-12", "LAU-13", "LAU-14", "LAU-15")
def test_the_environment_of_a_process(cli: Cli, image: str) -> None:
    given = ("REPLACED", "DEFAULTED", "APPENDED", "PREPENDED")
    variables = [arg for name in given for arg in ("-e", f"{name}=mine")]
    seen = environment_of(cli.ok("run", image, *variables).out)
    assert {name: seen[name] for name in given} == {
        "REPLACED": "layer",
        "DEFAULTED": "mine",
        "APPENDED": "mine:layer",
        "PREPENDED": "layer:mine",
    }
    files = "env:{0} env.launch:{0} env.launch/show:{0}"
    programs = "exec.d:{0} exec.d/show:{0}"
    expected = " ".join(part.format(layer) for part in (files, programs) for layer in ("alpha", "beta"))
    assert seen["ORDER"].strip() == expected
    assert not {name for name in seen if name.startswith("CNB_")} - {"CNB_EXEC_ENV"}
    layers = "/layers/test_modern"
    assert seen["PATH"].startswith(f"{layers}/beta/bin:{layers}/alpha/bin:/")
    assert "/cnb/" not in seen["PATH"]
    assert seen["LD_LIBRARY_PATH"] == f"{layers}/beta/lib:{layers}/alpha/lib"
    assert not seen.keys() & {"CPATH", "LIBRARY_PATH", "PKG_CONFIG_PATH"}


@pytest.mark.cnb("LAU-18")
def test_the_process_is_the_launcher_s_and_gets_the_signals(cli: Cli, image: str) -> None:
    assert cli("run", image, "--process", "seven").code == 7
    process = cli.start("run", image, "--process", "wait")
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("got TERM\n", 3), err


@pytest.mark.cnb("LAU-03", "LAU-19")
def test_failures_of_the_launcher_have_their_codes(cli: Cli, image: str) -> None:
    assert cli("run", image, "--command", "--", "no-such-program").code == 82
    assert cli("run", image, "-e", "CNB_PLATFORM_API=0.6").code == 11
    assert cli("run", image, "-e", "CNB_LAYERS_DIR=/nope").code == 1
