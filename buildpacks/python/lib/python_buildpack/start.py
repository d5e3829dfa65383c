"""Which process the image starts: the user's word first, then what the source code and the packages say."""

from __future__ import annotations

import os

from packrunner.sdk.report import Failure, say
from packrunner.sdk.shell import argv

from . import development
from .source import Application, asgi_twin, by_packages, find, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from packrunner.sdk.build import Build

_WSGI = ("gunicorn", "waitress-serve")
_ASGI = ("uvicorn", "hypercorn", "daphne")
_PACKAGES = {"waitress-serve": "waitress"}

_SCRIPTS = {
    "waitress-serve": 'waitress-serve --listen="0.0.0.0:$PORT"',
    "uvicorn": 'uvicorn --host 0.0.0.0 --port "$PORT"',
    "hypercorn": 'hypercorn --bind "0.0.0.0:$PORT"',
    "daphne": 'daphne -b 0.0.0.0 -p "$PORT"',
}
_FACTORY_FLAGS = {"waitress-serve": " --call", "uvicorn": " --factory"}


class Start:
    """What to start, decided in two steps: whether there is anything before packages are installed, how after it."""

    def __init__(self, context: Build) -> None:
        self._context = context
        self._command = os.environ.get("BP_START_COMMAND", "").strip()
        self._procfile = _procfile_types(context.app_dir)
        self._application: Application | None = None
        if not self._command and "web" not in self._procfile:
            self._application = find(context.app_dir)

    def check(self) -> None:
        """Fail before anything is fetched when there is no way to start the application."""
        if not (self._command or self._procfile or self._application):
            raise Failure(
                f"found no Flask, FastAPI, Starlette, Quart or Django application to start (looked in {places()})",
                tries=_ask(self._context.app_dir),
            )

    def declare(self, bin_dir: str, installed: set[str]) -> None:
        """Declare the process `web`, unless the Procfile has one; raises Failure when no server is installed."""
        if "web" in self._procfile:
            return
        if self._command:
            self._process(argv(self._command))
            self._context.step = f"web: {self._command} (BP_START_COMMAND)"
        elif self._application:
            self._serve(self._application, bin_dir, installed)

    def _serve(self, application: Application, bin_dir: str, installed: set[str]) -> None:
        if not application.interface:
            application.framework, application.interface = by_packages(installed)
        twin = asgi_twin(self._context.app_dir, application)
        server = _installed(_ASGI, bin_dir) if twin else ""
        if twin and server:
            application = twin
        elif self._for_development(application, bin_dir):
            return
        else:
            server = _installed(_ASGI if application.interface == "asgi" else _WSGI, bin_dir)
        if not server:
            if self._procfile:
                say(f"note: no process `web`: {application.framework or 'an'} application, but no server installed")
                return
            raise _no_server(application, self._context.app_dir)
        self._process(_command(server, application))
        self._tell(server, application)

    def _for_development(self, application: Application, bin_dir: str) -> bool:
        """Whether the framework's own server for development is the process."""
        found = development.command(application, bin_dir) if self._context.exec_env == development.NAME else None
        if found:
            server, command = found
            self._process(command)
            self._tell(server, application)
            if not _installed((*_WSGI, *_ASGI), bin_dir):
                say("note: an image for production needs a server: add gunicorn to requirements.txt")
        return bool(found)

    def _process(self, command: list[str]) -> None:
        self._context.process("web", command, default=True, reload="restart")

    def _tell(self, server: str, application: Application) -> None:
        call = "()" if application.factory else ""
        self._context.step = f"web: {server} {application.target}{call} ({application.framework} in {application.path})"


def _ask(app_dir: str) -> tuple[str, str]:
    """How to say what to start, with a script that is there."""
    scripts = sorted(name for name in os.listdir(app_dir) if name.endswith(".py"))
    script = next((name for name in ("main.py", "app.py", *scripts) if name in scripts), "main.py")
    return (
        f"echo 'web: python {script}' > Procfile   (any command that listens on $PORT)",
        f"the same as a setting: -e BP_START_COMMAND='python {script}'",
    )


def _no_server(application: Application, app_dir: str) -> Failure:
    server = "uvicorn" if application.interface == "asgi" else "gunicorn"
    name = f"{application.framework} application" if application.framework else "application"
    article = "an" if name[0] in "aeiou" else "a"
    return Failure(
        f"found {article} {name} in {application.path}, but no server to run it with",
        at="requirements.txt",
        tries=(f"add {server} to requirements.txt", _ask(app_dir)[0]),
    )


def _command(server: str, application: Application) -> list[str]:
    """The process. Arguments that a user adds when starting the image come after it.

    gunicorn listens on $PORT by itself. The others have to be told, and only a shell replaces variables: it does so
    and is gone, so that signals reach the server. Where Python runs, the run image has `sh`.
    """
    target = application.target
    if server == "gunicorn":
        path = ["--pythonpath", application.root] if application.root else []
        return ["gunicorn", *path, f"{target}()" if application.factory else target]
    flags = _FACTORY_FLAGS.get(server, "") if application.factory else ""
    if application.factory and not flags:
        target = f"'{target}()'"
    path_setting = f"PYTHONPATH={application.root} " if application.root else ""
    return ["sh", "-c", f'{path_setting}exec {_SCRIPTS[server]}{flags} {target} "$@"', server]


def _installed(servers: tuple[str, ...], bin_dir: str) -> str:
    return next((server for server in servers if os.path.exists(os.path.join(bin_dir, server))), "")


def _procfile_types(app_dir: str) -> set[str]:
    """The process types of a Procfile, lower-case; the procfile buildpack reads it properly."""
    try:
        with open(os.path.join(app_dir, "Procfile"), encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return {"web"} if os.environ.get("BP_PROCFILE_DEFAULT_PROCESS") else set()
    pairs = [line.lstrip("\ufeff").partition(":") for line in lines if not line.lstrip().startswith("#")]
    return {name.strip().lower() for name, colon, command in pairs if colon and command.strip()}
