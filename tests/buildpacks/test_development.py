"""What python and procfile start in images for development."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.buildpacks.builtin import Buildpack

RELOADER = "/layers/live-reload/reloader/bin/reloader"
WRAPPED = [RELOADER, "run", "--name", "web", "--"]
FLASK = "from flask import Flask\napp = Flask('x')\n"
FACTORY = "import flask\ndef create_app():\n    return flask.Flask('x')\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
SERVERS = ("gunicorn", "uvicorn")


@pytest.fixture
def python(stage: Callable[[str], Buildpack]) -> Buildpack:
    """The buildpack in a build for development, with a reloader at hand."""
    staged = stage("python")
    staged.env |= {"CNB_EXEC_ENV": "development", "PACKRUNNER_RELOADER": RELOADER}
    staged.write("requirements.txt")
    return staged


def started(python: Buildpack, files: dict[str, str], programs: tuple[str, ...]) -> list[str]:
    """The process of an application of these files with these programs installed."""
    python.set("BP_START_COMMAND", "x")
    assert python.build().code == 0
    python.restore()
    python.unset("BP_START_COMMAND")
    for program in programs:
        (python.layers / "dependencies/bin" / program).write_text("")
    for name, text in files.items():
        python.write(name, text)
    ran = python.build()
    assert ran.code == 0, ran.output
    assert python.default == "web"
    return python.processes["web"]


FLASK_RUN = 'exec flask --app {target} run --host 0.0.0.0 --port "$PORT" --no-reload "$@"'
DJANGO = {"manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n", "shop/wsgi.py": ""}
CASES = [
    ({"app.py": FLASK}, ("flask", "gunicorn"), ["sh", "-c", FLASK_RUN.format(target="app:app"), "flask"]),
    ({"app.py": FACTORY}, ("flask",), ["sh", "-c", FLASK_RUN.format(target="app:create_app"), "flask"]),
    ({"src/a.py": "", "src/app.py": FLASK}, ("flask",), ["sh", "-c", f"PYTHONPATH=src {FLASK_RUN}", "flask"]),
    ({"app.py": FLASK}, ("gunicorn",), ["gunicorn", "app:app"]),
    (
        {"main.py": FASTAPI},
        SERVERS,
        ["sh", "-c", 'exec uvicorn --host 0.0.0.0 --port "$PORT" main:app "$@"', "uvicorn"],
    ),
    (DJANGO, (), ["sh", "-c", 'exec python manage.py runserver "0.0.0.0:$PORT" --noreload "$@"', "runserver"]),
    (
        {**DJANGO, "shop/asgi.py": ""},
        ("gunicorn",),
        ["sh", "-c", 'exec python manage.py runserver "0.0.0.0:$PORT" --noreload "$@"', "runserver"],
    ),
    (
        {**DJANGO, "shop/asgi.py": ""},
        SERVERS,
        ["sh", "-c", 'exec uvicorn --host 0.0.0.0 --port "$PORT" shop.asgi:application "$@"', "uvicorn"],
    ),
]


@pytest.mark.parametrize(("files", "programs", "argv"), CASES)
def test_a_supervised_process_with_the_frameworks_own_server(
    python: Buildpack, files: dict[str, str], programs: tuple[str, ...], argv: list[str]
) -> None:
    expected = [word.replace("{target}", "app:app") for word in argv]
    assert started(python, files, programs) == [*WRAPPED, *expected]


@pytest.mark.parametrize(("programs", "told"), [(("flask",), True), (("flask", "gunicorn"), False)])
def test_what_is_missing_for_production_is_told(python: Buildpack, programs: tuple[str, ...], told: bool) -> None:
    started(python, {"app.py": FLASK}, programs)
    assert ("an image for production needs a server" in python.build().output) is told


def test_without_a_reloader_the_frameworks_own_does_it(python: Buildpack) -> None:
    del python.env["PACKRUNNER_RELOADER"]
    assert started(python, {"app.py": FLASK}, ("flask",))[:3] == [
        "sh",
        "-c",
        'exec flask --app app:app run --host 0.0.0.0 --port "$PORT" "$@"',
    ]
    assert "--noreload" not in started(python, DJANGO, ())[2]


def test_in_production_nothing_of_it(python: Buildpack) -> None:
    python.env["CNB_EXEC_ENV"] = "production"
    assert started(python, {"app.py": FLASK}, ("flask", "gunicorn")) == ["gunicorn", "app:app"]
    names = {path.name for path in (python.layers / "dependencies/env.launch").iterdir()}
    assert names == {"PORT.default", "PYTHONUNBUFFERED.default"}
    assert "for" not in python.toml("dependencies.toml")["metadata"]


def test_debugging_is_a_default_and_bytecode_is_not_kept(python: Buildpack) -> None:
    started(python, {"app.py": FLASK}, ("gunicorn",))
    directory = python.layers / "dependencies/env.launch"
    assert {p.name: p.read_text() for p in directory.iterdir() if p.name.startswith(("FLASK", "PYTHOND"))} == {
        "FLASK_DEBUG.default": "1",
        "PYTHONDONTWRITEBYTECODE.default": "1",
    }


def test_a_layer_for_production_is_not_taken_for_development(python: Buildpack) -> None:
    python.env["CNB_EXEC_ENV"] = "production"
    started(python, {"app.py": FLASK}, ("gunicorn",))
    python.restore()
    python.env["CNB_EXEC_ENV"] = "development"
    python.set("BP_START_COMMAND", "x")
    assert python.build().code == 0
    assert python.details["dependencies"].startswith("new")


def test_the_users_own_command_is_supervised_too(python: Buildpack) -> None:
    python.set("BP_START_COMMAND", "serve app")
    assert python.build().code == 0
    assert python.processes == {"web": [*WRAPPED, "serve", "app"]}


def test_every_process_of_a_procfile_is_supervised(stage: Callable[[str], Buildpack]) -> None:
    procfile = stage("procfile")
    procfile.write("Procfile", "web: serve --port $PORT\nworker: work hard\n")
    procfile.env |= {"CNB_EXEC_ENV": "development", "PACKRUNNER_RELOADER": RELOADER}
    assert procfile.build().code == 0
    assert procfile.processes == {
        "web": [*WRAPPED, "bash", "-c", "exec serve --port $PORT"],
        "worker": [RELOADER, "run", "--name", "worker", "--", "work", "hard"],
    }
    procfile.env["CNB_EXEC_ENV"] = "production"
    assert procfile.build().code == 0
    assert procfile.processes["worker"] == ["work", "hard"]
