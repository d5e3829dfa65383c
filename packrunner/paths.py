"""Where local state lives, one directory a purpose, and paths as people read them.

    data   <user data>/packrunner     store/  the image store;  bases/  locks, downloads, snapshots
    cache  <user cache>/packrunner    apps/   one workspace and cache per application;  stage/  buildpack trees
    state  <user state>/packrunner    records/  what the last builds were made from;  logs/

`PACKRUNNER_HOME` puts all three below one directory. Loaded by the start module: imports next to nothing.
"""

from __future__ import annotations

import os


def _base(variable: str, default: str, kind: str) -> str:
    home = os.environ.get("PACKRUNNER_HOME")
    if home:
        return os.path.join(os.path.abspath(home), kind)
    # As platformdirs does on Linux; importing it costs a whole interpreter start.
    chosen = os.environ.get(variable, "")
    root = chosen if os.path.isabs(chosen) else os.path.join(os.path.expanduser("~"), default)
    return os.path.join(root, "packrunner")


def data_dir() -> str:
    """Images and bases: expensive to make again."""
    return _base("XDG_DATA_HOME", ".local/share", "data")


def cache_dir() -> str:
    """Everything that may be deleted at any time."""
    return _base("XDG_CACHE_HOME", ".cache", "cache")


def state_dir() -> str:
    """Records and logs."""
    return _base("XDG_STATE_HOME", ".local/state", "state")


def config_file() -> str:
    """The user's own settings."""
    return os.path.join(_base("XDG_CONFIG_HOME", ".config", "config"), "config.toml")


def working_directory() -> str:
    """The current directory. Raises UsageError when it is gone."""
    try:
        return os.getcwd()
    except OSError as error:
        from packrunner.errors import UsageError

        raise UsageError(
            "the current directory does not exist any more", slug="no-such-path", tries=("cd ~",)
        ) from error


def is_ours(path: str) -> bool:
    """Whether local state is kept there, which PACKRUNNER_HOME can put elsewhere."""
    return any(path == one or path.startswith(one + os.sep) for one in (data_dir(), cache_dir(), state_dir()))


def readable(path: str) -> str:
    """A path for people: relative below the current directory, `~` for home, else absolute."""
    try:
        absolute, here = os.path.abspath(path), os.getcwd()
    except OSError:
        return path
    if absolute == here:
        return "."
    if absolute.startswith(here + os.sep):
        return absolute[len(here) + 1 :]
    home = os.path.expanduser("~")
    if home != "/" and absolute.startswith(home + os.sep):
        return "~" + absolute[len(home) :]
    return absolute
