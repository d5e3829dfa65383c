"""Users and groups of every image: root, those that Debian numbers the same everywhere, and the image's own user."""

from __future__ import annotations

from packrunner.engines.base import User

USER = User()
_SHADOW_GID = 42

_USERS = (
    ("daemon", 1, 1, "/usr/sbin"),
    ("bin", 2, 2, "/bin"),
    ("sys", 3, 3, "/dev"),
    ("mail", 8, 8, "/var/mail"),
    ("www-data", 33, 33, "/var/www"),
    ("nobody", 65534, 65534, "/nonexistent"),
)
_GROUPS = (
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("tty", 5),
    ("disk", 6),
    ("mail", 8),
    ("www-data", 33),
    ("shadow", _SHADOW_GID),
    ("utmp", 43),
    ("staff", 50),
    ("users", 100),
    ("nogroup", 65534),
)
# Days since 1970 of the last change of a password: constant, because there is none.
_CHANGED = 20000

SECRET_OWNER = (0, _SHADOW_GID)


def taken(user: User) -> str:
    """What of a user's another user or group has already: "" where all of it is free."""
    for name, uid, _, _ in (("root", 0, 0, ""), *_USERS):
        if user.name == name or user.uid == uid:
            return f"the user {name} has the number {uid}"
    for name, gid in _GROUPS:
        if user.name == name or user.gid == gid:
            return f"the group {name} has the number {gid}"
    return ""


def passwd(user: User, shell: str) -> str:
    """The content of /etc/passwd; `shell` is that of root and of the image's user."""
    lines = [f"root:x:0:0:root:/root:{shell}"]
    lines += [f"{name}:x:{uid}:{gid}:{name}:{home}:/usr/sbin/nologin" for name, uid, gid, home in _USERS]
    lines += [f"{user.name}:x:{user.uid}:{user.gid}:{user.name}:{user.home}:{shell}"]
    return "\n".join(lines) + "\n"


def group(user: User) -> str:
    """The content of /etc/group."""
    return "".join(f"{name}:x:{gid}:\n" for name, gid in (*_GROUPS, (user.name, user.gid)))


def shadow(user: User) -> str:
    """The content of /etc/shadow: nobody has a password, so nobody can log in with one."""
    names = ("root", *(name for name, *_ in _USERS), user.name)
    return "".join(f"{name}:*:{_CHANGED}:0:99999:7:::\n" for name in names)


def gshadow(user: User) -> str:
    """The content of /etc/gshadow."""
    return "".join(f"{name}:*::\n" for name in (*(name for name, _ in _GROUPS), user.name))
