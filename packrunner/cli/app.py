"""From arguments to a command: one module per command, loaded when it is the one, and usage errors in our own words.

A command of two words is a module in the package of its first word, `builder update` commands/builder/update.py; what
the group is for says the package's docstring. Beside `command` a module may have CONTEXT (click's settings) and CLASS
(a Command that parses in its own way). A group whose package has `load` makes its commands itself.

typer reads a command's parameters from its signature; the help is laid out here, without boxes.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
import typer
import typer.core
import typer.main

from packrunner.config import SETTINGS
from packrunner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from packrunner.cli.session import Session

COMMANDS = (
    "build",
    "run",
    "dev",
    "detect",
    "plan",
    "sync-rules",
    "images",
    "inspect",
    "rebase",
    "rm",
    "prune",
    "builder inspect",
    "push",
    "pull",
    "load",
    "save",
    "login",
    "logout",
    "builder update",
    "builder create",
    "builder fetch",
    "builder lock",
    "builder suggest",
    "compose init",
    "compose up",
    "buildpack new",
    "buildpack package",
    "buildpack inspect",
    "buildpack validate",
    "buildpack pull",
    "config",
    "schema",
    "doctor",
    "lifecycle analyze",
    "lifecycle detect",
    "lifecycle generate",
    "lifecycle restore",
    "lifecycle extend",
    "lifecycle build",
    "lifecycle export",
    "lifecycle rebase",
    "lifecycle create",
    "completion",
    "help",
)
OPTION_WIDTH = 26
_HELP = ("-h", "--help")


class Command(typer.core.TyperCommand):
    """A command whose help is: usage, what it does, examples, options under their headings."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help page."""
        formatter.width = 100
        formatter.write("\n".join(help_page(self, ctx)) + "\n")


def help_page(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """The lines of a command's help."""
    import textwrap

    arguments = [_argument(p) for p in command.params if isinstance(p, click.Argument)]
    yield " ".join(["Usage:", ctx.command_path, "[options]", *arguments])
    yield ""
    about, _, examples = (command.help or "").partition("\n\n")
    yield from textwrap.wrap(" ".join(about.split()), 96)
    if examples:
        yield ""
        yield from (f"  {line.strip()}" for line in examples.splitlines() if line.strip())
    for heading, options in sections(command):
        yield ""
        yield heading
        for option in options:
            yield from option_lines(option)


def _argument(parameter: click.Argument) -> str:
    name = parameter.make_metavar(click.Context(click.Command("")))
    return name if name.startswith("[") or parameter.required else f"[{name}]"


def sections(command: click.Command) -> list[tuple[str, list[click.Option]]]:
    """A command's options under their headings, in the order of the signature; --help comes last."""
    found: dict[str, list[click.Option]] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            found.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(parameter)
    return list(found.items())


def option_lines(option: click.Option) -> list[str]:
    """One option, its meaning, default and the variable or key that sets it."""
    import textwrap

    short = [o for o in option.opts if not o.startswith("--")]
    long = [o for o in option.opts if o.startswith("--")]
    names = ", ".join([*short, *long]) if short else "    " + ", ".join(long)
    head = f"  {names} {option.metavar or ''}".rstrip()
    text = " ".join(filter(None, [option.help, _sources(option)]))
    lines = textwrap.wrap(text, 100 - OPTION_WIDTH - 2, break_on_hyphens=False) or [""]
    if len(head) > OPTION_WIDTH:
        lines.insert(0, "")
    return [f"{head if i == 0 else '':<{OPTION_WIDTH}}  {line}".rstrip() for i, line in enumerate(lines)]


def _sources(option: click.Option) -> str:
    long = next((o[2:] for o in option.opts if o.startswith("--")), "")
    setting = SETTINGS.get(long)
    if setting is None:
        return ""
    parts = [f"default: {setting.default}"] if setting.default not in (None, 0) else []
    parts.append(setting.variable)
    parts += [f"{setting.name} in config.toml"] if setting.in_config else []
    return f"({'; '.join(parts)})"


def load(name: str) -> click.Command:
    """A command by its name, of one word or two."""
    group, _, word = name.partition(" ")
    if word and (own := getattr(_module(group), "load", None)):
        loaded: click.Command = own(word)
        return loaded
    return _made(name, _module(name))


@cache
def _made(name: str, module: ModuleType) -> click.Command:
    """A module's command; typer takes milliseconds for each."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"]} | getattr(module, "CONTEXT", {})
    app.command(name=name, cls=getattr(module, "CLASS", Command), context_settings=settings)(module.command)
    return typer.main.get_command(app)


def _module(name: str) -> ModuleType:
    return import_module("packrunner.cli.commands." + name.replace(" ", ".").replace("-", "_"))


def first_words() -> tuple[str, ...]:
    """What may follow `packrunner`: commands of one word, and groups."""
    return tuple(dict.fromkeys(name.partition(" ")[0] for name in COMMANDS))


def members(group: str) -> tuple[str, ...]:
    """The second words of a group's commands; none for what is no group."""
    return tuple(name.removeprefix(f"{group} ") for name in COMMANDS if name.startswith(f"{group} "))


def group_page(group: str) -> Iterator[str]:
    """The lines of a group's help: what it is for, and of each command its first sentence."""
    import textwrap

    yield f"Usage: packrunner {group} COMMAND [options]"
    yield ""
    yield from textwrap.wrap(" ".join((_module(group).__doc__ or "").split()), 96)
    yield ""
    names = [f"{group} {word}" for word in members(group)]
    width = max(map(len, names))
    for name in names:
        about = " ".join((load(name).help or "").partition("\n\n")[0].split())
        first = about.partition(". ")[0].rstrip(".:")
        for i, line in enumerate(textwrap.wrap(first, 100 - width - 4)):
            yield f"  {'' if i else name:<{width}}  {line}"
    yield ""
    yield f"packrunner {group} COMMAND --help"


def dispatch(argv: Sequence[str], session: Session) -> int:
    """Run what `argv` says; the exit status. Raises UsageError for what cannot be understood."""
    name, rest = _named(argv)
    if name == "--version":
        from packrunner._version import __version__

        session.result(f"packrunner {__version__}")
        return 0
    if members(name):
        session.result("\n".join(group_page(name)))
        return 0
    if name not in COMMANDS:
        raise _unknown(name)
    session.settle()
    return _invoke(load(name), name, rest, session)


def _named(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The command that the arguments begin with, and the rest; the group alone where help about it is asked for."""
    first, rest = (argv[0], list(argv[1:])) if argv else ("help", [])
    if first in _HELP:
        return "help", rest
    if members(first) and rest and rest[0] not in _HELP:
        return f"{first} {rest[0]}", rest[1:]
    return first, rest


def _invoke(command: click.Command, name: str, rest: list[str], session: Session) -> int:
    # Not command.main(): it would turn a broken pipe, and any interrupt, into exits of its own.
    try:
        with command.make_context(f"packrunner {name}", rest, obj=session) as ctx:
            code = command.invoke(ctx)
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.UsageError as e:
        raise _usage(e, name) from e
    return code if isinstance(code, int) else 0


def _unknown(name: str) -> UsageError:
    group, _, word = name.rpartition(" ")
    more = " ".join(filter(None, ("packrunner", group, "--help")))
    if word.startswith("-"):
        example = f"{group} {members(group)[0]}" if group else COMMANDS[0]
        return UsageError(
            f"{word} comes before the command",
            slug="usage",
            cause="options belong to commands, and follow them",
            tries=(f"packrunner {example} {word}",),
            more=more,
        )
    # Also by its second word alone; what can be said with one word comes first.
    meant = {w: name for name in COMMANDS for w in (name, name.rpartition(" ")[2])}
    meant |= {w: f"{group} {w}" for w in members(group)} if group else {w: w for w in first_words()}
    near = dict.fromkeys(meant[match] for match in get_close_matches(word, meant, n=2))
    return UsageError(
        f"there is no command {name}",
        slug="usage",
        tries=tuple(f"packrunner {match}" for match in near),
        more=more,
    )


def _usage(error: click.UsageError, name: str) -> UsageError:
    more = f"packrunner {name} --help"
    match error:
        case click.NoSuchOption():
            near = _near_options(error, name)
            return UsageError(
                f"packrunner {name} has no option {error.option_name}", slug="usage", tries=near, more=more
            )
        case click.MissingParameter() if error.param is not None:
            needed = _called(error.param)
            return UsageError(f"packrunner {name} needs {needed}", slug="usage", more=more)
        case click.BadParameter() if error.param is not None:
            return UsageError(f"{_called(error.param)}: {_plain(error.message)}", slug="usage", more=more)
        case click.BadOptionUsage():
            return UsageError(f"{error.option_name} needs a value", slug="usage", more=more)
        case _:
            return UsageError(f"packrunner {name}: {_plain(error.message)}", slug="usage", more=more)


def _called(param: click.Parameter) -> str:
    return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name.upper()


def _near_options(error: click.NoSuchOption, name: str) -> tuple[str, ...]:
    """Options like a misspelt one; a single letter is like any other."""
    if len(error.option_name) == len("-x"):
        return ()
    known = [o for p in load(name).params for o in p.opts if isinstance(p, click.Option) and len(o) > len("-x")]
    return tuple(get_close_matches(error.option_name, known, n=2, cutoff=0.5))


def _plain(message: str) -> str:
    return (message[:1].lower() + message[1:]).rstrip(".")


def session_of(ctx: Any) -> Session:
    """The session that a command runs in."""
    session: Session = ctx.obj
    return session
