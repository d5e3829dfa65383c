"""packrunner/python: when it applies, when packages are installed anew, what it starts, how it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from packrunner.environment import apply_files
from tests.buildpacks.builtin import PYTHON_DIR, ROOT, Buildpack
from tests.buildpacks.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"


@pytest.fixture
def python(stage: Callable[[str], Buildpack]) -> Buildpack:
    """The buildpack, with an empty application."""
    return stage("python")


# --- detect


@pytest.mark.parametrize(
    "name", ["requirements.txt", "pyproject.toml", "uv.lock", "poetry.lock", "Pipfile", "setup.py"]
)
@pytest.mark.cnb("DET-11")
def test_detect_accepts_what_lists_packages(python: Buildpack, name: str) -> None:
    python.write(name)
    assert python.detect().code == 0
    written = tomllib.loads(python.plan.read_text())
    assert written == {"provides": [{"name": "python"}], "requires": [{"name": "python"}]}


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (None, []),
        ("app.py", ["try: create requirements.txt (an empty one will do)", ". There is app.py"]),
        ("tool.py", ["try: create requirements.txt (an empty one will do)", ". There is tool.py"]),
        ("requirement.txt", ["try: mv requirement.txt requirements.txt", ". There is requirement.txt"]),
        (
            "requirements.in",
            [
                "try: uv pip compile --generate-hashes requirements.in -o requirements.txt",
                ". There is requirements.in",
            ],
        ),
    ],
)
def test_detect_says_what_is_missing_and_what_there_is(python: Buildpack, name: str | None, lines: list[str]) -> None:
    if name:
        python.write(name)
    ran = python.detect()
    needs = "needs one of requirements.txt, pyproject.toml, uv.lock, poetry.lock, setup.py"
    assert ran.code == 100
    assert ran.lines == [*lines[:-1], needs + (lines[-1] if lines else "")]


# --- what cannot be built, before anything is fetched


@pytest.mark.parametrize(
    ("files", "brief", "at", "word"),
    [
        (["uv.lock", "pyproject.toml"], "cannot install from uv.lock or pyproject.toml yet", "uv.lock", "uv export"),
        (["poetry.lock"], "cannot install from poetry.lock yet", "poetry.lock", "poetry export"),
        (["Pipfile"], "cannot install from Pipfile yet", "Pipfile", "pipenv"),
        (["setup.py"], "cannot install from setup.py yet", "setup.py", "uv pip compile"),
    ],
)
def test_other_managers_are_named_with_the_way_out(
    python: Buildpack, files: list[str], brief: str, at: str, word: str
) -> None:
    for name in files:
        python.write(name)
    assert python.build().code == 1
    assert python.failure["brief"] == f"{brief}, only from requirements.txt"
    assert python.failure["at"] == at
    assert word in python.failure["try"][0]


@pytest.mark.parametrize(
    ("requirements", "brief", "at"),
    [
        (
            b"-r missing.txt\n",
            "cannot read missing.txt: No such file or directory",
            "requirements.txt:1   -r missing.txt",
        ),
        ("flask\n".encode("utf-16"), "cannot read requirements.txt: it is UTF-16, not UTF-8", "requirements.txt:1"),
    ],
)
def test_an_unreadable_requirements_file(python: Buildpack, requirements: bytes, brief: str, at: str) -> None:
    python.write("requirements.txt", requirements)
    assert python.build().code == 1
    assert (python.failure["brief"], python.failure["at"]) == (brief, at)


def test_variables_that_would_break_the_installation_are_refused(python: Buildpack) -> None:
    python.write("requirements.txt")
    python.set("PIP_TARGET", "/x")
    python.set("VIRTUAL_ENV", "/x")
    assert python.build().code == 1
    assert python.failure["brief"] == "cannot install packages with PIP_TARGET and VIRTUAL_ENV set"


def test_an_unknown_installer_is_refused(python: Buildpack) -> None:
    python.write("requirements.txt", "flask\n")
    python.write("app.py", FLASK)
    python.set("BP_PYTHON_PACKAGE_MANAGER", "conda")
    assert python.build().code == 1
    assert python.failure["try"] == ["uv, the default, or pip"]


def test_an_application_that_nothing_starts_asks_for_a_procfile(python: Buildpack) -> None:
    python.write("requirements.txt")
    python.write("tool.py", "print('hello')\n")
    ran = python.build()
    assert ran.code == 1
    assert python.failure["brief"].startswith(
        "found no Flask, FastAPI, Starlette, Quart or Django application to start"
    )
    assert python.failure["try"][0].startswith("echo 'web: python tool.py' > Procfile")
    assert not (python.layers / "dependencies").exists()


def test_a_server_that_is_missing_is_named(python: Buildpack) -> None:
    python.write("requirements.txt")
    python.write("app.py", FLASK)
    assert python.build().code == 1
    assert python.failure["brief"] == "found a Flask application in app.py, but no server to run it with"
    assert python.failure["try"][0] == "add gunicorn to requirements.txt"


# --- what is started


@pytest.mark.parametrize(
    ("text", "variable", "processes"),
    [
        ("web: x\n", None, {}),
        ("WEB: x\n", "ignored, for the Procfile wins", {}),
        ("worker: x\n", None, {}),
        ("worker: x\n", "serve app", {"web": ["serve", "app"]}),
        (None, "serve --port $PORT", {"web": ["bash", "-c", "exec serve --port $PORT"]}),
    ],
)
def test_the_users_own_word_comes_first(
    python: Buildpack, text: str | None, variable: str | None, processes: dict[str, list[str]]
) -> None:
    python.write("requirements.txt")
    if text is not None:
        python.write("Procfile", text)
    if variable is not None:
        python.set("BP_START_COMMAND", variable)
    ran = python.build()
    assert ran.code == 0, ran.output
    assert python.processes == processes


SHELL = ["sh", "-c"]
GUNICORN = ("gunicorn",)
ALL = ("gunicorn", "uvicorn", "hypercorn", "daphne", "waitress-serve")
MANAGE = "import os\n\ndef main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings.prod')\n"

LAYOUTS = [
    ({"app.py": FLASK}, ALL, ["gunicorn", "app:app"]),
    ({"main.py": "import flask as f\nsite: f.Flask = f.Flask('x')\n"}, ALL, ["gunicorn", "main:site"]),
    (
        {"app.py": "from flask import Flask as F\nother = F('a')\napplication = F('b')\n"},
        ALL,
        ["gunicorn", "app:application"],
    ),
    ({"app.py": "if True:\n    from flask import Flask\n    app = Flask('x')\n"}, ALL, ["gunicorn", "app:app"]),
    ({"app.py": "import flask\ndef create_app(config=None):\n    pass\n"}, ALL, ["gunicorn", "app:create_app()"]),
    ({"app/__init__.py": FLASK}, ALL, ["gunicorn", "app:app"]),
    (
        {"wsgi.py": "from shop import create_app\napp = create_app()\n", "shop/__init__.py": ""},
        ALL,
        ["gunicorn", "wsgi:app"],
    ),
    ({"src/shop/main.py": FLASK}, ALL, ["gunicorn", "--pythonpath", "src", "shop.main:app"]),
    (
        {"app.py": FLASK},
        ("waitress-serve",),
        [*SHELL, 'exec waitress-serve --listen="0.0.0.0:$PORT" app:app "$@"', "waitress-serve"],
    ),
    (
        {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
        ALL,
        [*SHELL, 'exec uvicorn --host 0.0.0.0 --port "$PORT" main:app "$@"', "uvicorn"],
    ),
    (
        {"main.py": "import fastapi\ndef create_app():\n    return fastapi.FastAPI()\n"},
        ALL,
        [*SHELL, 'exec uvicorn --host 0.0.0.0 --port "$PORT" --factory main:create_app "$@"', "uvicorn"],
    ),
    (
        {"app.py": "from starlette.applications import Starlette\napp = Starlette()\n"},
        ("hypercorn",),
        [*SHELL, 'exec hypercorn --bind "0.0.0.0:$PORT" app:app "$@"', "hypercorn"],
    ),
    (
        {"src/api/main.py": "from quart import Quart\napp = Quart('x')\n"},
        ("daphne",),
        [*SHELL, 'PYTHONPATH=src exec daphne -b 0.0.0.0 -p "$PORT" api.main:app "$@"', "daphne"],
    ),
    ({"manage.py": MANAGE, "config/wsgi.py": "", "app.py": FLASK}, GUNICORN, ["gunicorn", "config.wsgi:application"]),
    (
        {"manage.py": MANAGE, "config/wsgi.py": "", "config/asgi.py": ""},
        GUNICORN,
        ["gunicorn", "config.wsgi:application"],
    ),
    (
        {"manage.py": MANAGE, "config/wsgi.py": "", "config/asgi.py": ""},
        ALL,
        [*SHELL, 'exec uvicorn --host 0.0.0.0 --port "$PORT" config.asgi:application "$@"', "uvicorn"],
    ),
    # What does not parse is passed over, with a warning.
    ({"main.py": "def (:\n", "app.py": FLASK}, ALL, ["gunicorn", "app:app"]),
]


@pytest.mark.parametrize(("files", "servers", "argv"), LAYOUTS)
def test_what_the_source_says_is_started(
    python: Buildpack, files: dict[str, str], servers: tuple[str, ...], argv: list[str]
) -> None:
    python.write("requirements.txt")
    python.write("Procfile", "web: x\n")
    ran = python.build()
    assert ran.code == 0, ran.output
    python.restore()
    (python.app / "Procfile").unlink()
    for server in servers:
        (python.layers / "dependencies/bin" / server).write_text("")
    (python.layers / "dependencies/lib").chmod(0o755)
    (next((python.layers / "dependencies/lib").glob("python*")) / "site-packages/flask").mkdir()
    for name, text in files.items():
        python.write(name, text)
    ran = python.build()
    assert ran.code == 0, ran.output
    assert python.processes == {"web": argv}
    assert python.default == "web"
    assert ("warning: main.py:1 is not Python" in ran.output) is (files.get("main.py", "").startswith("def ("))


def test_the_code_is_read_and_never_run(python: Buildpack) -> None:
    python.write("requirements.txt")
    python.write("app.py", "open('ran', 'w')\nraise SystemExit(3)\nfrom flask import Flask\napp = Flask('x')\n")
    python.build()
    assert python.failure["brief"].startswith("found a Flask application in app.py")
    assert not (python.app / "ran").exists()


# --- installing, without a network


@pytest.fixture
def offline(python: Buildpack) -> Buildpack:
    """A Flask application whose two packages are wheels in its own directory, installed with pip."""
    trial = subprocess.run(
        [os.path.join(PYTHON_DIR, "python3"), "-m", "pip", "--version"], capture_output=True, check=False
    )
    if trial.returncode:
        pytest.skip("this interpreter has no pip")
    wheels = python.app / "wheels"
    flask = make_wheel(
        wheels, "flask", files={"flask/broken.py": "not python\n", "flask/deep/a.py": "X = {1, 2, 'a'}\n"}
    )
    gunicorn = make_wheel(wheels, "gunicorn", scripts=("gunicorn",))
    python.write("requirements.txt", f"./wheels/{flask}\n-r more.txt\n")
    python.write("more.txt", f"# more\n./wheels/{gunicorn} \\\n\n")
    python.write("app.py", FLASK)
    python.set("BP_PYTHON_PACKAGE_MANAGER", "pip")
    python.set("PIP_NO_INDEX", "1")
    return python


def built(buildpack: Buildpack) -> str:
    """Build as the next build of the same application; returns what was said of `dependencies`."""
    buildpack.restore()
    ran = buildpack.build()
    assert ran.code == 0, ran.output
    return buildpack.details["dependencies"]


@pytest.mark.cnb("BLD-07")
def test_packages_go_into_a_layer_of_their_own(offline: Buildpack) -> None:
    assert built(offline) == "new: 2 packages (requirements.txt)"
    assert offline.processes == {"web": ["gunicorn", "app:app"]}
    table = offline.toml("dependencies.toml")
    assert table["types"] == {"launch": True, "build": True, "cache": True}
    assert offline.toml("downloads.toml")["types"] == {"launch": False, "build": False, "cache": True}
    assert not (offline.layers / "uv.toml").exists()
    layer = offline.layers / "dependencies"
    assert (layer / "bin/gunicorn").read_text().startswith(f"#!{layer}/bin/python")
    launched = {"PORT": ""}
    for directory in ("env", "env.launch"):
        apply_files(launched, {p.name: p.read_bytes() for p in (layer / directory).iterdir()})
    assert launched == {"PORT": "8080", "PYTHONUNBUFFERED": "1", "VIRTUAL_ENV": str(layer)}


def test_the_environment_runs_its_packages(offline: Buildpack) -> None:
    built(offline)
    program = "import flask, flask.deep.a, sys; print(flask.__file__, sys.prefix)"
    interpreter = offline.layers / "dependencies/bin/python"
    ran = subprocess.run([interpreter, "-B", "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.count(str(offline.layers / "dependencies")) == 2


def test_nothing_is_installed_when_nothing_changed(offline: Buildpack) -> None:
    built(offline)
    before = offline.files("dependencies")
    offline.write("app.py", FLASK + "# edited\n")
    offline.write("other.py", "x = 1\n")
    assert built(offline) == "reused (requirements.txt unchanged)"
    assert offline.files("dependencies") == before


@pytest.mark.parametrize("change", ["requirements.txt", "more.txt", "wheel", "setting", "python", "content"])
def test_every_input_of_the_installation_counts(offline: Buildpack, change: str) -> None:
    built(offline)
    reason = "requirements.txt changed"
    if change.endswith(".txt"):
        offline.write(change, (offline.app / change).read_text() + "# more\n")
    elif change == "wheel":
        make_wheel(offline.app / "wheels", "gunicorn", files={"gunicorn/new.py": ""}, scripts=("gunicorn",))
    elif change == "setting":
        offline.set("PIP_PREFER_BINARY", "1")
        reason = "settings changed"
    elif change == "python":
        text = (offline.layers / "dependencies.toml").read_text()
        version = offline.toml("dependencies.toml")["metadata"]["python"]
        (offline.layers / "dependencies.toml").write_text(text.replace(f'"{version}"', '"3.0.1"'))
        reason = f"python 3.0.1 -> {version}"
    else:
        reason = "the cached copy is gone"
        offline.restore()
        shutil.rmtree(offline.layers / "dependencies")
        assert offline.build().code == 0
        assert offline.details["dependencies"] == f"new: 2 packages ({reason})"
        return
    assert built(offline) == f"new: 2 packages ({reason})"


@pytest.mark.parametrize("name", ["PIP_TIMEOUT", "PIP_CERT", "UV_HTTP_RETRIES", "PIP_RETRIES"])
def test_how_packages_are_reached_does_not_count(offline: Buildpack, name: str) -> None:
    built(offline)
    offline.set(name, "7")
    assert built(offline) == "reused (requirements.txt unchanged)"


def test_a_rotated_token_does_not_count_and_is_in_no_metadata(offline: Buildpack) -> None:
    offline.set("PIP_EXTRA_INDEX_URL", "https://user:first-token@index.invalid/simple")
    built(offline)
    offline.set("PIP_EXTRA_INDEX_URL", "https://user:second-token@index.invalid/simple")
    assert built(offline) == "reused (requirements.txt unchanged)"
    offline.set("PIP_EXTRA_INDEX_URL", "https://user:second-token@other.invalid/simple")
    assert built(offline) == "new: 2 packages (settings changed)"
    files = [p for p in offline.layers.rglob("*") if p.is_file() and b"-token" in p.read_bytes()]
    assert files == []


def test_two_installations_are_equal_to_the_byte(offline: Buildpack) -> None:
    built(offline)
    first = offline.files("dependencies")
    assert any(name.endswith(".pyc") for name in first)
    offline.under.forget()
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(affinity)})
    try:
        built(offline)
    finally:
        os.sched_setaffinity(0, affinity)
    assert offline.files("dependencies") == first


def test_compiled_files_do_not_depend_on_times(offline: Buildpack) -> None:
    """Images have one time for all files: a .pyc that compares times would be compiled again at every start."""
    built(offline)
    compiled = sorted((offline.layers / "dependencies").rglob("*.pyc"))
    assert {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled} == {1}  # unchecked hash


def test_a_local_project_follows_its_source_unless_it_is_editable(offline: Buildpack) -> None:
    offline.write("more.txt", "")
    offline.write("lib/pkg/pyproject.toml", "[project]\nname = 'x'\nversion = '1'\n")
    offline.write("lib/pkg/x.py", "1\n")
    sources = str(offline.staged / "lib")
    program = (
        f"import sys; sys.path.insert(0, {sources!r})\n"
        "from python_buildpack.requirements import Requirements\nprint(Requirements('.').digest())"
    )

    def digest(line: str) -> str:
        offline.write("requirements.txt", line)
        run = [os.path.join(PYTHON_DIR, "python3"), "-I", "-c", program]
        return subprocess.run(run, cwd=offline.app, capture_output=True, text=True, check=True).stdout

    plain, editable = digest("./lib/pkg ; python_version > '3'\n"), digest("-e ./lib/pkg[extra]\n")
    offline.write("lib/pkg/x.py", "2\n")
    assert digest("./lib/pkg ; python_version > '3'\n") != plain
    assert digest("-e ./lib/pkg[extra]\n") == editable
    offline.write("lib/pkg/pyproject.toml", "[project]\nname = 'x'\nversion = '2'\n")
    assert digest("-e ./lib/pkg[extra]\n") != editable


def test_requirements_that_include_each_other_end(python: Buildpack) -> None:
    python.write("requirements.txt", "-r a.txt\n")
    python.write("a.txt", "--requirement=requirements.txt\n")
    python.write("Procfile", "web: x\n")
    ran = python.build()
    assert ran.code == 0, ran.output
    assert python.details["dependencies"] == "new: 0 packages (requirements.txt)"


# --- notes and warnings


def test_a_lock_beside_requirements_is_mentioned(python: Buildpack) -> None:
    python.write("requirements.txt")
    python.write("uv.lock")
    python.write("Procfile", "web: x\n")
    assert "note: uv.lock is not read; requirements.txt is what is installed" in python.build().lines


def test_a_committed_environment_is_warned_about(python: Buildpack) -> None:
    python.write("requirements.txt")
    python.write("Procfile", "web: x\n")
    python.write(".venv/pyvenv.cfg")
    output = python.build().output
    assert "warning: .venv is a virtual environment of another machine" in output
    assert 'exclude = [".venv/"]' in output


@pytest.mark.parametrize(
    ("name", "content", "warned"),
    [
        (".python-version", "2.7\n", True),
        (".python-version", "# comment\n3\n", False),
        ("runtime.txt", "python-2.7.18\n", True),
        (".python-version", "pypy\n", False),
    ],
)
def test_another_wanted_python_is_warned_about(python: Buildpack, name: str, content: str, *, warned: bool) -> None:
    python.write("requirements.txt")
    python.write("Procfile", "web: x\n")
    python.write(name, content)
    ran = python.build()
    assert ran.code == 0
    assert (f"warning: {name} asks for Python" in ran.output) is warned


def test_another_python_in_a_setting_fails(python: Buildpack) -> None:
    python.write("requirements.txt")
    python.write("Procfile", "web: x\n")
    python.set("BP_CPYTHON_VERSION", "2.7.*")
    assert python.build().code == 1
    assert python.failure["brief"].startswith("BP_CPYTHON_VERSION asks for Python 2.7.*, and this builder has ")


# --- with a package index


def sample(buildpack: Buildpack) -> Buildpack:
    """Put samples/flask in place of the application."""
    shutil.copytree(ROOT / "samples/flask", buildpack.app, dirs_exist_ok=True)
    return buildpack


@pytest.mark.network
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_sample_builds_twice_to_the_same_bytes_and_serves(python: Buildpack, installer: str) -> None:
    sample(python).set("BP_PYTHON_PACKAGE_MANAGER", installer)
    assert built(python) == "new: 8 packages (requirements.txt)"
    expected = tomllib.loads((ROOT / "samples/flask/expect.toml").read_text())["processes"]
    assert python.processes == {one["type"]: one["command"] for one in expected}
    first = python.files("dependencies")
    assert built(python) == "reused (requirements.txt unchanged)"
    python.under.forget()
    built(python)
    assert python.files("dependencies") == first
    interpreter = python.layers / "dependencies/bin/python"
    program = "import app; print(app.app.test_client().get('/').text)"
    env = {"GREETING": "Good morning", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        [interpreter, "-B", "-c", program], cwd=python.app, env=env, capture_output=True, text=True, check=True
    )
    assert "<h1>Good morning from packrunner</h1>" in ran.stdout


@pytest.mark.network
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_place_of_an_unknown_package_is_found(python: Buildpack, installer: str) -> None:
    python.write("app.py", FLASK)
    python.write("requirements.txt", "flask\nflaskk==99.9\n")
    python.set("BP_PYTHON_PACKAGE_MANAGER", installer)
    ran = python.build()
    assert ran.code == 1
    assert python.failure == {
        "brief": "could not install requirements.txt",
        "at": "requirements.txt:2   flaskk==99.9",
        "try": ["correct the line; a similar name in this file is flask"],
    }


@pytest.mark.network
def test_changed_requirements_keep_the_tool_and_the_downloads(python: Buildpack) -> None:
    sample(python)
    built(python)
    python.write("requirements.txt", (python.app / "requirements.txt").read_text() + "# changed\n")
    python.set("UV_OFFLINE", "1")
    assert built(python) == "new: 8 packages (requirements.txt changed)"
    assert python.details["uv"] == "reused (version unchanged)"
    assert python.details["downloads"] == "reused (less than a month old)"
