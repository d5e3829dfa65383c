"""sdk.md, made from the SDK's own texts: its modules in the order in which an author meets them."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

MODULES = (
    *("detect", "build", "context", "layers", "bindings", "command", "fetch", "unpack", "sbom", "execd"),
    *("digest", "report", "shell", "sync", "toml", "zstd"),
)
_HEAD = """# The SDK

What a buildpack in Python is written with: [how to](../how-to/write-a-buildpack-in-python.md). It needs Python 3.11 or
newer and nothing else, is put into the buildpack as `lib/packrunner/sdk` where buildpack.toml says
`[metadata.packrunner] sdk = true`, and works under every lifecycle with Buildpack API 0.9 or later. Identifiers in
brackets are items of the [conformance list](../../tests/conformance/items.toml). This page is made from the code:
`make docs`."""


def page() -> str:
    """The whole page."""
    return "\n\n".join([_HEAD, *(part for name in MODULES for part in _module(name))]) + "\n"


def _module(name: str) -> Iterator[str]:
    module = importlib.import_module(f"packrunner.sdk.{name}")
    yield f"## packrunner.sdk.{name}"
    yield _text(inspect.getdoc(module) or "")
    constants, functions, classes = public(module)
    if constants:
        yield f"Constants: {_listed(constants)}"
    for one in functions:
        yield _callable(one, getattr(module, one))
    for one in classes:
        yield from _class(getattr(module, one))


def public(module: ModuleType) -> tuple[list[str], list[str], list[str]]:
    """The names of a module that are its own and for others: constants, functions, classes, as they stand in it."""
    own = [n for n in ast.parse(inspect.getsource(module)).body if not isinstance(n, ast.If | ast.ImportFrom)]
    constants = [name for n in own for name in _assigned(n) if name.isupper() and name != "TYPE_CHECKING"]
    functions = [n.name for n in own if isinstance(n, ast.FunctionDef) and n.name[0] != "_"]
    return constants, functions, [n.name for n in own if isinstance(n, ast.ClassDef) and n.name[0] != "_"]


def _assigned(node: ast.stmt) -> list[str]:
    return [target.id for target in _targets(node) if isinstance(target, ast.Name) and target.id[0] != "_"]


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.AnnAssign):
        return [node.target]
    return node.targets if isinstance(node, ast.Assign) else []


def _class(of: type) -> Iterator[str]:
    base = next((b.__name__ for b in of.__bases__ if b is not object), "")
    yield f"### {of.__name__}"
    yield _text(inspect.getdoc(of) or "") + (f" A kind of `{base}`." if base else "")
    if attributes := list(attributes_of(of)):
        yield f"Attributes: {_listed(attributes)}"
    for name, member in members_of(of):
        if isinstance(member, property):
            yield _entry(name, member)
        else:
            yield _callable(of.__name__ if name == "__init__" else name, member)


def attributes_of(of: type) -> Iterator[str]:
    """What `__init__` sets of an object that is for others."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(of)))):
        if not (isinstance(node, ast.FunctionDef) and node.name == "__init__"):
            continue
        for one in node.body:
            for target in _targets(one):
                if isinstance(target, ast.Attribute) and target.attr[0] != "_":
                    yield target.attr


def members_of(of: type) -> Iterator[tuple[str, object]]:
    """The methods and properties for others; the constructor where an author calls it, which its text says."""
    for name, member in vars(of).items():
        described = isinstance(member, property) or inspect.isfunction(member)
        if described and (name[0] != "_" or (name in {"__init__", "__getitem__"} and member.__doc__)):
            yield name, member


def _callable(name: str, of: object) -> str:
    assert inspect.isfunction(of)
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(of))).body
    assert isinstance(node, ast.FunctionDef)
    parameters = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    returns = ast.unparse(node.returns) if node.returns else "None"
    return _entry(f"{name}({parameters})" + (f" -> {returns}" if returns != "None" else ""), of)


def _entry(shown: str, of: object) -> str:
    return f"- `{shown}`\n\n{textwrap.indent(_text(inspect.getdoc(of) or ''), '  ')}".rstrip()


def _text(doc: str) -> str:
    """A text of the code for the page: a tree of files stays one, and what is indented stays code."""
    parts = doc.split("\n\n")
    return "\n\n".join(f"```text\n{part}\n```" if part.startswith("<") else part for part in parts)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
