"""Rules in the words of other tools: each tool, played by a few lines, has to do with a file what the rules say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packrunner.dev import compose, devcontainer, skaffold, tilt
from packrunner.dev.covering import SETTLE, Project
from packrunner.dev.patterns import matches
from packrunner.dev.rules import decide
from packrunner.dev.writers import write
from packrunner.formats.sync import Rule, SyncRules

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMAS = Path(__file__).parents[2] / "schemas"
LAUNCHED = ["/cnb/lifecycle/launcher", "--", "reloader", "settle"]

PYTHON = SyncRules(
    rules=(
        Rule(src=("**/__pycache__/**", "**/*.pyc", "**/.venv/**"), action="ignore"),
        Rule(src=("*requirements*.txt", "requirements/**"), action="rebuild"),
        Rule(src=("pyproject.toml", "uv.lock", "Procfile"), action="rebuild"),
        Rule(src=("**/*.py",), action="reload"),
        Rule(src=("**/templates/**", "**/*.html"), action="sync"),
        Rule(src=("**/static/**",), action="sync"),
        Rule(src=("**",), action="restart"),
    )
)
FILES = (
    "app.py",
    "requirements.txt",
    "dev-requirements.txt",
    "uv.lock",
    "README.md",
    "LICENSE",
    "shop/views.py",
    "shop/__pycache__/views.cpython-313.pyc",
    "shop/templates/index.html",
    "static/site.css",
    "requirements/base.txt",
    "requirements/tool.py",
    ".venv/lib/flask.py",
)

# Names and patterns that hit each other often.
sources = st.sampled_from(
    (
        "a.py",
        "b.txt",
        "d/a.py",
        "d/e/b.txt",
        "*.py",
        "*.txt",
        "**/*.py",
        "**/*.txt",
        "d/**",
        "**/e/**",
        "d/*",
        "*",
        "**",
    )
)
rule = st.builds(
    Rule,
    src=st.lists(sources, min_size=1, max_size=3, unique=True).map(tuple),
    action=st.sampled_from(("sync", "reload", "restart", "rebuild", "ignore")),
    dest=st.sampled_from(("", "", "", "/srv/www")),
)
tables = st.lists(rule, max_size=5).map(lambda rules: SyncRules(rules=tuple(rules)))
HELD = ("a.py", "b.txt", "c.md", "LICENSE", "d/a.py", "d/c.md", "d/e/a.py", "d/e/b.txt", "f/e/b.txt", "f/a.py")

Outcome = tuple[Literal["copy", "rebuild", "nothing"], tuple[str, ...]]
NOTHING: Outcome = ("nothing", ())
REBUILD: Outcome = ("rebuild", ())


def expected(rules: SyncRules, path: str) -> Outcome:
    found = decide(rules, path)
    if found is None or found.action == "rebuild":
        return REBUILD
    if found.action == "ignore":
        return NOTHING
    return ("copy", (f"{found.dest or rules.workspace}/{path}",))


def dockerignored(lines: Iterable[str], path: str) -> bool:
    """As moby's patternmatcher: the last line that matches the path, or a directory that it is in, counts."""
    names = path.split("/")
    held = ["/".join(names[: i + 1]) for i in range(len(names))]
    ignored = False
    for line in lines:
        if any(matches(line.removeprefix("!"), one) for one in held):
            ignored = not line.startswith("!")
    return ignored


def by_tilt(given: dict[str, Any], path: str) -> Outcome:
    def below(directory: str) -> bool:
        return directory == "." or path == directory or path.startswith(f"{directory}/")

    if dockerignored(given["ignore"], path):
        return NOTHING
    if any(below(stop) for stop in given["fall_back_on"]):
        return REBUILD
    for sync in given["sync"]:
        if below(sync["local"]):
            inner = path if sync["local"] == "." else path.removeprefix(sync["local"]).lstrip("/")
            return ("copy", ("/".join(filter(None, (sync["remote"], inner))),))
    return REBUILD


def by_compose(entries: list[dict[str, Any]], path: str) -> list[tuple[str, str]]:
    return [
        (entry["action"], f"{entry['target']}/{path}")
        for entry in entries
        if dockerignored(entry["include"], path) and not dockerignored(entry.get("ignore", ()), path)
    ]


def by_skaffold(artifact: dict[str, Any], path: str) -> Outcome:
    if any(matches(one, path) for one in artifact["custom"]["dependencies"].get("ignore", ())):
        return NOTHING
    manual = artifact.get("sync", {}).get("manual", ())
    places = tuple(f"{one['dest']}/{path}" for one in manual if matches(one["src"], path))
    return ("copy", places) if places else REBUILD


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tree(tmp_path_factory.mktemp("held"), HELD)


def tree(root: Path, paths: Iterable[str]) -> str:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    return str(root)


@given(tables)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tilt_does_what_the_rules_say(held: str, rules: SyncRules) -> None:
    given = tilt.document(rules, held)
    for path in HELD:
        if (wanted := expected(rules, path)) != NOTHING:
            assert by_tilt(given, path) == wanted, path
        else:
            # An ignored file may be below an exception; then it is copied for nothing, or built for nothing.
            assert by_tilt(given, path) == NOTHING or any(line.startswith("!") for line in given["ignore"])


@given(tables)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_compose_does_what_the_rules_say(held: str, rules: SyncRules) -> None:
    entries = list(compose.watch(rules))
    for path in HELD:
        found = decide(rules, path)
        outcome = expected(rules, path)
        action = "sync" if found is not None and found.action == "sync" else "sync+exec"
        assert by_compose(entries, path) == [(action, place) for place in outcome[1]], path


@given(tables)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_skaffold_does_what_the_rules_say(held: str, rules: SyncRules) -> None:
    artifact = skaffold.document(rules, Project(image="shop", development="shop:dev", path=held))["build"]["artifacts"][
        0
    ]
    for path in HELD:
        kind, places = expected(rules, path)
        done, there = by_skaffold(artifact, path)
        if kind == "nothing":
            assert done in {"nothing", "rebuild"}, path
        else:
            assert (done, set(there)) == (kind, set(places)), path


def test_tilt_is_told_paths_for_what_python_states(tmp_path: Path) -> None:
    given = json.loads(write("tilt", PYTHON, Project(image="shop", development="shop:dev", path=tree(tmp_path, FILES))))
    assert given == {
        "schema": "packrunner.sync-rules.tilt/1",
        "ignore": ["**/.venv/**", "**/*.pyc", "**/__pycache__/**"],
        "fall_back_on": [
            "Procfile",
            "dev-requirements.txt",
            "pyproject.toml",
            "requirements",
            "requirements.txt",
            "uv.lock",
        ],
        "sync": [{"local": ".", "remote": "/workspace"}],
        "run": [LAUNCHED],
        "watch": [
            "Procfile",
            "dev-requirements.txt",
            "project.toml",
            "pyproject.toml",
            "requirements",
            "requirements.txt",
            "uv.lock",
        ],
    }


def test_tilt_takes_the_innermost_directory_first(tmp_path: Path) -> None:
    rules = SyncRules(
        rules=(Rule(src=("public/img/**",), action="sync", dest="/srv"), Rule(src=("public/**",), action="sync"))
    )
    assert tilt.document(rules, str(tmp_path))["sync"] == [
        {"local": "public/img", "remote": "/srv/public/img"},
        {"local": "public", "remote": "/workspace/public"},
    ]


def test_nothing_is_run_where_copying_is_all(tmp_path: Path) -> None:
    rules = SyncRules(rules=(Rule(src=("public/**",), action="sync"),))
    project = Project(image="shop", development="shop:dev", path=str(tmp_path))
    assert tilt.document(rules, str(tmp_path))["run"] == []
    assert [entry["action"] for entry in compose.watch(rules)] == ["sync"]
    assert "hooks" not in skaffold.document(rules, project)["build"]["artifacts"][0]["sync"]


def test_every_command_goes_through_the_launcher(tmp_path: Path) -> None:
    project = Project(image="shop", development="shop:dev", path=tree(tmp_path, FILES))
    assert list(SETTLE) == LAUNCHED
    artifact = yaml.safe_load(write("skaffold", PYTHON, project))["build"]["artifacts"][0]
    assert artifact["sync"]["hooks"] == {"after": [{"container": {"command": LAUNCHED}}]}
    service = yaml.safe_load(write("compose", PYTHON, project))["services"]["shop"]
    assert [one["exec"] for one in service["develop"]["watch"] if "exec" in one] == [{"command": LAUNCHED}] * 2


def test_composes_file_fits_its_schema(tmp_path: Path) -> None:
    schema = json.loads((SCHEMAS / "compose-spec.json").read_text())
    for rules in (PYTHON, SyncRules()):
        given = yaml.safe_load(
            write(
                "compose",
                rules,
                Project(
                    image="registry.example.com/team/shop", development="registry.example.com/team/shop:dev", path="."
                ),
            )
        )
        jsonschema.validate(given, schema)
        assert given["services"]["shop"]["image"] == "registry.example.com/team/shop:dev"
    given = compose.document(PYTHON, Project(image="shop", development="shop:dev", path="."), "shop")
    given["services"]["shop"]["develop"] = {"watch": [{"path": ".", "action": "sync+reload"}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(given, schema)


def test_a_star_alone_is_written_so_that_compose_keeps_the_other_patterns() -> None:
    (entry,) = compose.watch(SyncRules(rules=(Rule(src=("*", "d/**"), action="sync"),)))
    assert entry["include"] == ["?*", "!?*/*", "d/**"]


def test_skaffold_is_told_kinds_of_file_where_a_pattern_would_take_too_much(tmp_path: Path) -> None:
    project = Project(image="shop", development="shop:dev", path=tree(tmp_path, FILES))
    artifact = skaffold.document(PYTHON, project)["build"]["artifacts"][0]
    assert artifact["custom"]["dependencies"]["ignore"] == ["**/__pycache__/**", "**/*.pyc", "**/.venv/**"]
    assert [one["src"] for one in artifact["sync"]["manual"]] == [
        "*.py",
        "shop/**/*.py",
        "shop/**/templates/**",
        "static/**",
        "*.md",
        "LICENSE",
    ]
    assert {one["dest"] for one in artifact["sync"]["manual"]} == {"/workspace"}


def test_skaffolds_builder_pushes_or_loads_as_it_is_told(tmp_path: Path) -> None:
    custom = skaffold.document(PYTHON, Project(image="shop", development="shop:dev", path=str(tmp_path)))["build"][
        "artifacts"
    ][0]["custom"]
    assert custom["buildCommand"] == (
        'packrunner build "$IMAGE" --path "$BUILD_CONTEXT" --exec-env development '
        '$([ "$PUSH_IMAGE" = true ] && echo --push || echo --load)'
    )


def test_a_development_container_has_the_application_in_place() -> None:
    passing = Rule(src=("**/.git/**", "**/*~"), action="ignore")
    rules = SyncRules(rules=(passing, *PYTHON.rules))
    given = json.loads(write("devcontainer", rules, Project(image="shop", development="shop:dev", path="/src/shop")))
    assert given["initializeCommand"] == ["packrunner", "build", "shop:dev", "--exec-env", "development", "--load"]
    assert given["image"] == "shop:dev"
    assert given["workspaceMount"] == "source=${localWorkspaceFolder},target=/workspace,type=bind"
    assert given["overrideCommand"] is False
    assert given["customizations"]["vscode"]["settings"]["files.watcherExclude"] == {
        "**/__pycache__/**": True,
        "**/*.pyc": True,
        "**/.venv/**": True,
    }
    assert given == devcontainer.document(PYTHON, Project(image="shop", development="shop:dev", path="/src/shop"))


def test_unreadable_and_missing_directories_are_left_out(tmp_path: Path) -> None:
    rules = SyncRules(rules=(Rule(src=("**/*.lock",), action="rebuild"), Rule(src=("**",), action="sync")))
    (tmp_path / "loop").symlink_to(tmp_path)
    tree(tmp_path, ("deep/a.lock",))
    assert tilt.document(rules, str(tmp_path))["fall_back_on"] == ["deep/a.lock"]
    assert tilt.document(rules, str(tmp_path / "gone"))["fall_back_on"] == []
