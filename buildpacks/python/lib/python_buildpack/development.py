"""How an application is started while it is developed: with what its framework has for that, where it has something.

Code is taken over by a restart, which live reload does; where there is none, the framework's own reloader does it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .source import Application

NAME = "development"

VARIABLES = {
    # Debug pages, and templates that are looked at again, whatever the application is served with.
    "FLASK_DEBUG": "1",
    "QUART_DEBUG": "1",
    # Two versions of a file that are of one second and one size would share their bytecode.
    "PYTHONDONTWRITEBYTECODE": "1",
}
"""What processes see unless they are given something else."""

_FLASK = 'flask --app {target} run --host 0.0.0.0 --port "$PORT"'
_DJANGO = 'python manage.py runserver "0.0.0.0:$PORT"'


def command(application: Application, bin_dir: str) -> tuple[str, list[str]] | None:
    """The name of the framework's development server and the process; None where the usual server is as good."""
    supervised = "PACKRUNNER_RELOADER" in os.environ
    if application.framework == "Django":
        line = f"{_DJANGO}{' --noreload' if supervised else ''}"
        return "runserver", ["sh", "-c", f'exec {line} "$@"', "runserver"]
    if application.framework == "Flask" and os.path.exists(os.path.join(bin_dir, "flask")):
        path = f"PYTHONPATH={application.root} " if application.root else ""
        line = f"{_FLASK.format(target=application.target)}{' --no-reload' if supervised else ''}"
        return "flask run", ["sh", "-c", f'{path}exec {line} "$@"', "flask"]
    return None
