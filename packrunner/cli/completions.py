"""Completion scripts: commands and options are written into them, image names are asked for while typing."""

from __future__ import annotations

from difflib import get_close_matches

from packrunner.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
TAKES_IMAGE = ("run", "inspect", "rm", "build", "rebase", "push", "load", "save")
IMAGES = "packrunner images 2>/dev/null | cut -f1"
VALUES = {
    "--network": ("host", "none"),
    "--progress": ("auto", "tty", "plain", "json"),
    "--color": ("auto", "always", "never"),
    "--compression": ("gzip", "zstd"),
    "--pull-policy": ("always", "if-not-present", "never"),
}
DIRECTORIES = ("-p", "--path", "--buildpacks")
FILES = ("--env-file", "--order")


def script(shell: str) -> str:
    """The script for a shell. Raises UsageError for another one."""
    if shell not in SHELLS:
        near = get_close_matches(shell, SHELLS, n=1)
        raise UsageError(
            f"there is no completion for {shell}",
            slug="usage",
            cause=f"there is one for {', '.join(SHELLS)}",
            tries=tuple(f"packrunner completion {match}" for match in near),
        )
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def options() -> dict[str, list[tuple[tuple[str, ...], str, bool]]]:
    """Of every command its options: (spellings, help, takes a value)."""
    import click

    from packrunner.cli import app

    found = {}
    for name in app.COMMANDS:
        params = [p for p in app.load(name).params if isinstance(p, click.Option)]
        listed = [(tuple(p.opts), p.help or "", not (p.is_flag or p.count)) for p in params]
        found[name] = [*listed, (("-h", "--help"), "Show this help.", False)]
    return found


def _bash(*, head: str = "") -> str:
    from packrunner.cli import app, topics

    known = options()
    groups = "\n".join(
        f"""    {word})
      if [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W "{" ".join(seconds)} --help" -- "$current")); return; fi
      command="{word} ${{COMP_WORDS[2]}}" ;;"""
        for word in app.first_words()
        if (seconds := app.members(word))
    )
    cases = "\n".join(
        f'    "{name}") words="{" ".join(o for spellings, _, _ in found for o in spellings)}" ;;'
        for name, found in known.items()
    )
    values = "\n".join(f'    {option}) words="{" ".join(choices)}" ;;' for option, choices in VALUES.items())
    return f"""{head}_packrunner() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="${{COMP_WORDS[1]}}"
  local words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(app.first_words())} --version --help" -- "$current"))
    return
  fi
  case "$command" in
{groups}
  esac
  case "$previous" in
{values}
    {"|".join(DIRECTORIES)}) COMPREPLY=($(compgen -d -- "$current")); return ;;
    {"|".join(FILES)}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  if [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case "$current" in
    -*)
      case "$command" in
{_indented(cases)}
      esac ;;
    *)
      case "$command" in
        {"|".join(TAKES_IMAGE)}) words="$({IMAGES})" ;;
        completion) words="{" ".join(SHELLS)}" ;;
        help) words="{" ".join((*app.first_words(), *topics.PAGES))}" ;;
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  # A colon in an image's name divides words for readline; give it only what follows.
  case "$current" in
    *:*)
      local prefix="${{current%"${{current##*:}}"}}" i
      case "$COMP_WORDBREAKS" in
        *:*) for i in "${{!COMPREPLY[@]}}"; do COMPREPLY[$i]="${{COMPREPLY[$i]#"$prefix"}}"; done ;;
      esac ;;
  esac
}}
complete -o default -F _packrunner packrunner
"""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _zsh() -> str:
    # zsh runs bash's completions; one script to keep right.
    return _bash(head="#compdef packrunner\nautoload -U +X bashcompinit && bashcompinit\n")


# Whether the words before the cursor are packrunner, these, and perhaps more. fish's own test would take the `detect`
# of `lifecycle detect` for the other command of that name.
_FISH_AT = """\
function __packrunner_at
  set -l words (commandline -opc)
  set -l last (math (count $argv) + 1)
  test (count $words) -ge $last; and test "$words[2..$last]" = "$argv"
end
"""


def _fish() -> str:
    from packrunner.cli import app, topics

    known = options()
    start = "complete -c packrunner"
    lines = [f"{start} -f", f"{start} -n __fish_use_subcommand -a '{' '.join(app.first_words())}'"]
    for word in app.first_words():
        if seconds := app.members(word):
            lines.append(f"{start} -n '__packrunner_at {word}; and test (count (commandline -opc)) -eq 2'")
            lines[-1] += f" -a '{' '.join(seconds)}'"
    for name, found in known.items():
        seen = f"{start} -n '__packrunner_at {name}'"
        for spellings, about, takes_value in found:
            flags = " ".join(_fish_option(spelling) for spelling in spellings)
            values = VALUES.get(spellings[-1])
            wants = f" -x -a '{' '.join(values)}'" if values else " -r" if takes_value else ""
            lines.append(f"{seen} {flags}{wants} -d '{_quoted(about)}'")
    lines += [f"{start} -n '__packrunner_at {name}' -a '({IMAGES})'" for name in TAKES_IMAGE]
    lines.append(f"{start} -n '__packrunner_at completion' -a '{' '.join(SHELLS)}'")
    lines.append(f"{start} -n '__packrunner_at help' -a '{' '.join((*app.first_words(), *topics.PAGES))}'")
    return _FISH_AT + "\n".join(lines) + "\n"


def _fish_option(spelling: str) -> str:
    if spelling.startswith("--"):
        return f"-l {spelling[2:]}"
    return f"-s {spelling[1:]}" if len(spelling) == len("-q") else f"-o {spelling[1:]}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
