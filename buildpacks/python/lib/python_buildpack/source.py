"""Find the application object in source code, without importing the code or even the `ast` module.

`compile` gives the syntax tree; its nodes need no import to be looked at, which saves a third of a start.
"""

from __future__ import annotations

import os

from packrunner.sdk.report import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal

    Interface = Literal["wsgi", "asgi", ""]

_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST
_LIMIT = 4 << 20

_CLASSES: dict[str, tuple[str, Interface]] = {
    "flask.Flask": ("Flask", "wsgi"),
    "quart.Quart": ("Quart", "asgi"),
    "fastapi.FastAPI": ("FastAPI", "asgi"),
    "starlette.applications.Starlette": ("Starlette", "asgi"),
    "litestar.Litestar": ("Litestar", "asgi"),
    "django.core.wsgi.get_wsgi_application": ("Django", "wsgi"),
    "django.core.asgi.get_asgi_application": ("Django", "asgi"),
}
_ROOTS: dict[str, tuple[str, Interface]] = {
    "flask": ("Flask", "wsgi"),
    "quart": ("Quart", "asgi"),
    "fastapi": ("FastAPI", "asgi"),
    "starlette": ("Starlette", "asgi"),
    "litestar": ("Litestar", "asgi"),
}
_FACTORIES = ("create_app", "make_app", "create_application", "make_application")
_PREFERRED = ("app", "application", "api", "server")

_MODULES = ("main", "app", "asgi", "wsgi", "server", "application", "api", "run")


class Application:
    """An application object or factory: `target` is `module:name`, `root` the directory to import it from."""

    __slots__ = ("factory", "framework", "interface", "path", "root", "target")

    def __init__(
        self, framework: str, interface: Interface, path: str, target: str, *, root: str = "", factory: bool = False
    ) -> None:
        self.framework = framework
        self.interface = interface
        self.path = path
        self.target = target
        self.root = root
        self.factory = factory


def find(app_dir: str) -> Application | None:
    """The first application found in the usual places; relative paths are the application directory's."""
    if os.path.isfile(os.path.join(app_dir, "manage.py")):
        found = _django(app_dir)
        if found:
            return found
    for path, module, root in _places(app_dir):
        tree = _parse(os.path.join(app_dir, path), path)
        found = _in_module(tree, path, module, root) if tree is not None else None
        if found:
            return found
    return None


def places() -> str:
    """Where `find` looks, for people."""
    return ", ".join(f"{name}.py" for name in _MODULES)


def _places(app_dir: str) -> Iterator[tuple[str, str, str]]:
    """(path, module, import root) of each file that may hold the application, the likeliest first."""
    candidates = [(f"{name}.py", name, "") for name in _MODULES]
    candidates += [
        (f"app/{name}.py", f"app.{name}" if name != "__init__" else "app", "") for name in ("__init__", "main", "app")
    ]
    source = os.path.join(app_dir, "src")
    packages = sorted(os.listdir(source)) if os.path.isdir(source) else []
    candidates += [(f"src/{name}.py", name, "src") for name in _MODULES]
    for package in packages:
        candidates += [(f"src/{package}/{name}.py", f"{package}.{name}", "src") for name in _MODULES]
        candidates.append((f"src/{package}/__init__.py", package, "src"))
    yield from (one for one in candidates if os.path.isfile(os.path.join(app_dir, one[0])))


def _parse(absolute: str, shown: str) -> Any:
    import warnings

    with open(absolute, "rb") as file:
        code = file.read(_LIMIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return compile(code, shown, "exec", flags=_ONLY_AST, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            line = getattr(e, "lineno", None)
            warn(f"{shown}{f':{line}' if line else ''} is not Python {_version()}: {getattr(e, 'msg', None) or e}")
            return None


def _version() -> str:
    import sys

    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _in_module(tree: Any, path: str, module: str, root: str) -> Application | None:
    names = _imports(tree)
    objects: dict[str, tuple[str, Interface]] = {}
    for statement in _statements(tree.body):
        for target, call in _assigned_calls(statement):
            made = _CLASSES.get(_dotted(call.func, names)) or _by_factory(call.func, names)
            if made:
                objects.setdefault(target, made)
    for name in (*_PREFERRED, *objects):
        if name in objects:
            framework, interface = objects[name]
            return Application(framework, interface, path, f"{module}:{name}", root=root)
    for statement in tree.body:
        if _kind(statement) == "FunctionDef" and statement.name in _FACTORIES and not _required(statement.args):
            framework, interface = _imported_framework(names)
            if framework:
                target = f"{module}:{statement.name}"
                return Application(framework, interface, path, target, root=root, factory=True)
    return None


def _kind(node: Any) -> str:
    return str(type(node).__name__)


def _statements(body: list[Any]) -> Iterator[Any]:
    """The statements that run when a module is imported."""
    for statement in body:
        yield statement
        if _kind(statement) in {"If", "Try", "With"}:
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(statement, part, []))


def _imports(tree: Any) -> dict[str, str]:
    """What the names of a module stand for, dotted."""
    names: dict[str, str] = {}
    for statement in _statements(tree.body):
        if _kind(statement) == "Import":
            for alias in statement.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif _kind(statement) == "ImportFrom":
            origin = "." * statement.level + (statement.module or "")
            for alias in statement.names:
                names[alias.asname or alias.name] = f"{origin}.{alias.name}"
    return names


def _assigned_calls(statement: Any) -> Iterator[tuple[str, Any]]:
    """(name, call) for `name = something(...)` at module level."""
    kind = _kind(statement)
    if kind not in {"Assign", "AnnAssign"} or _kind(statement.value) != "Call":
        return
    for target in statement.targets if kind == "Assign" else [statement.target]:
        if _kind(target) == "Name":
            yield target.id, statement.value


def _dotted(node: Any, names: dict[str, str]) -> str:
    """`flask.Flask` for the expression that means it here; empty for what is not a dotted name."""
    if _kind(node) == "Name":
        return names.get(node.id, str(node.id))
    if _kind(node) == "Attribute":
        base = _dotted(node.value, names)
        return f"{base}.{node.attr}" if base else ""
    return ""


def _by_factory(node: Any, names: dict[str, str]) -> tuple[str, Interface] | None:
    """What `app = create_app()` makes: by the frameworks this module imports, else known only once installed."""
    if _dotted(node, names).rpartition(".")[2] not in _FACTORIES:
        return None
    return _imported_framework(names)


def _imported_framework(names: dict[str, str]) -> tuple[str, Interface]:
    roots = {origin.partition(".")[0] for origin in names.values()}
    return next((made for root, made in _ROOTS.items() if root in roots), ("", ""))


def _required(arguments: Any) -> bool:
    """Whether a function cannot be called without arguments."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    keywords = any(default is None for default in arguments.kw_defaults)
    return positional > len(arguments.defaults) or keywords


def by_packages(installed: set[str]) -> tuple[str, Interface]:
    """The framework of an application that does not say which, by what is installed."""
    return next((made for root, made in _ROOTS.items() if root in installed), ("", ""))


def _django(app_dir: str) -> Application | None:
    """The WSGI application of the project whose settings manage.py names."""
    tree = _parse(os.path.join(app_dir, "manage.py"), "manage.py")
    settings = _settings_module(tree) if tree is not None else ""
    parts = settings.split(".")
    for end in range(len(parts) - 1, 0, -1):
        package = ".".join(parts[:end])
        path = "/".join((*parts[:end], "wsgi.py"))
        if os.path.isfile(os.path.join(app_dir, path)):
            return Application("Django", "wsgi", path, f"{package}.wsgi:application")
    return None


def asgi_twin(app_dir: str, application: Application) -> Application | None:
    """A Django project's ASGI application beside its WSGI one."""
    path = application.path.replace("wsgi.py", "asgi.py")
    if application.framework != "Django" or not os.path.isfile(os.path.join(app_dir, path)):
        return None
    return Application("Django", "asgi", path, application.target.replace(".wsgi:", ".asgi:"))


def _settings_module(node: Any) -> str:
    """The second argument of the call that is given DJANGO_SETTINGS_MODULE."""
    values = (
        [getattr(argument, "value", None) for argument in getattr(node, "args", []) or []]
        if _kind(node) == "Call"
        else []
    )
    if values[:1] == ["DJANGO_SETTINGS_MODULE"] and len(values) > 1 and isinstance(values[1], str):
        return values[1]
    for field in getattr(node, "_fields", ()):
        child = getattr(node, field)
        for one in child if isinstance(child, list) else [child]:
            found = _settings_module(one) if hasattr(one, "_fields") else ""
            if found:
                return found
    return ""
