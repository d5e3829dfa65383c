"""What the how-to shows is Python, and calls what there is."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from packrunner.cli.manual_sdk import attributes_of
from packrunner.sdk.bindings import Binding
from packrunner.sdk.build import Build
from packrunner.sdk.context import Context, Target
from packrunner.sdk.detect import Detect
from packrunner.sdk.layers import Layer

if TYPE_CHECKING:
    from pathlib import Path

KINDS: dict[str, tuple[type, ...]] = {
    "context": (Build, Detect, Context),
    "layer": (Layer,),
    "binding": (Binding,),
    "target": (Target,),
}


def there(name: str, attribute: str) -> bool:
    return any(hasattr(kind, attribute) or attribute in attributes_of(kind) for kind in KINDS[name])


@pytest.mark.parametrize("page", ["docs/how-to/write-a-buildpack-in-python.md", "packrunner/sdk/build.py"])
def test_it_shows_what_there_is(repository: Path, page: str) -> None:
    text = (repository / page).read_text()
    shown = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for block in shown:
        ast.parse(block)
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        tomllib.loads(block)
    used = re.findall(r"\b(context|layer|binding|target)\.([a-z_]+)", "\n".join(shown) or text.split('"""')[1])
    assert len(used) > 4
    assert [f"{name}.{attribute}" for name, attribute in used if not there(name, attribute)] == []
