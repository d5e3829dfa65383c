"""What the user's variables ask for, and what they must not change."""

from __future__ import annotations

import os

from packrunner.sdk.report import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

INSTALLERS = ("uv", "pip")

_REFUSED = (
    *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_DRY_RUN", "PIP_CACHE_DIR"),
    *("UV_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_SYSTEM_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_CACHE_DIR"),
    *("UV_LINK_MODE", "UV_DRY_RUN", "UV_COMPILE_BYTECODE", "VIRTUAL_ENV", "PYTHONHOME"),
)
"""Variables that send packages to another place than the layer, or another way."""

_NO_INFLUENCE = (
    *("PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_QUIET"),
    *("PIP_VERBOSE", "PIP_NO_INPUT", "PIP_PROGRESS_BAR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_TRUSTED_HOST"),
    *("UV_SYSTEM_CERTS", "UV_NATIVE_TLS", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_NO_PROGRESS", "UV_INSECURE_HOST"),
    *("UV_CONCURRENT_DOWNLOADS", "UV_CONCURRENT_BUILDS", "UV_CONCURRENT_INSTALLS", "UV_OFFLINE"),
)
"""Variables of pip and uv that say how to reach packages, not which."""

_SHARED = (
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
    ("PIP_NO_INDEX", "UV_NO_INDEX"),
)
"""Settings that both installers have under names of their own; either name serves both."""


def check(platform_dir: str) -> None:
    """Refuse what the user set and the build would break on; raises Failure naming all of it."""
    given = [name for name in _REFUSED if os.path.exists(os.path.join(platform_dir, "env", name))]
    if given:
        raise Failure(
            f"cannot install packages with {' and '.join(given)} set",
            tries=tuple(f"leave {name} out: this buildpack decides where packages go" for name in given),
        )


def installer() -> str:
    """The tool that installs requirements.txt: uv, unless BP_PYTHON_PACKAGE_MANAGER says pip."""
    wish = os.environ.get("BP_PYTHON_PACKAGE_MANAGER", "").strip().lower() or INSTALLERS[0]
    if wish not in INSTALLERS:
        raise Failure(
            f"does not know the package manager {wish}",
            at="BP_PYTHON_PACKAGE_MANAGER",
            tries=("uv, the default, or pip",),
        )
    return wish


def tool_env(env: Mapping[str, str], *, downloads: str) -> dict[str, str]:
    """The environment in which pip and uv run: nothing asks, nothing is linked, times are fixed."""
    result = {
        "SOURCE_DATE_EPOCH": "315532801",
        "PIP_RETRIES": "2",
        "UV_SYSTEM_CERTS": "1",
        **env,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_PROGRESS_BAR": "off",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_CACHE_DIR": downloads,
        "UV_CACHE_DIR": downloads,
        # A file in two layers at once would be one inode: a change in one changes the other.
        "UV_LINK_MODE": "copy",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    for pip, uv in _SHARED:
        for have, lack in ((pip, uv), (uv, pip)):
            if have in env and lack not in env:
                result[lack] = env[have]
    return result


def influential(env: Mapping[str, str]) -> str:
    """The settings that decide which packages are installed, as text to be hashed; credentials are left out.

    A rotated token must not make a layer new, and nothing derived from it belongs into an image.
    """
    lines = [f"SOURCE_DATE_EPOCH={env.get('SOURCE_DATE_EPOCH', '')}"]
    for name in sorted(env):
        ours = name.startswith(("PIP_", "UV_")) and name not in _NO_INFLUENCE
        if ours and not name.endswith(("_PASSWORD", "_USERNAME", "_TOKEN")):
            lines.append(f"{name}={' '.join(_without_user(word) for word in env[name].split())}")
    return "\n".join(lines)


def _without_user(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
