"""What pip and uv say when they fail, turned into a place in requirements.txt and a next step.

Loaded only after a failure. Each matcher knows one situation and gives None for all others; where none fits, the
installer's own words stand alone.
"""

from __future__ import annotations

import difflib
import re

from packrunner.sdk.report import Failure

from .requirements import NAME, normal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .requirements import Requirement, Requirements

_BRIEF = f"could not install {NAME}"
_LOCK = f"uv pip compile --generate-hashes requirements.in -o {NAME}"

_NO_PIP = "No module named pip"
_WITH_PIP = "choose a build image with Debian's python3-pip"

_UNREACHABLE = (
    *("dns error", "failed to lookup address", "Temporary failure in name resolution", "Name or service not known"),
    *("tcp connect error", "Connection refused", "connection reset", "operation timed out", "Network is unreachable"),
    *("NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "Max retries exceeded", "request timed out"),
    *("Could not resolve host", "503 Service Unavailable", "502 Bad Gateway", "Network connectivity is disabled"),
)
_UNTRUSTED = ("invalid peer certificate", "certificate verify failed", "CERTIFICATE_VERIFY_FAILED", "UnknownIssuer")
_REFUSED = ("401 Unauthorized", "403 Forbidden", "401 Client Error", "403 Client Error")

_DEBIAN = {
    "pg_config": "libpq-dev",
    "libpq-fe.h": "libpq-dev",
    "mysql_config": "default-libmysqlclient-dev",
    "mysql.h": "default-libmysqlclient-dev",
    "Python.h": "python3-dev",
    "ffi.h": "libffi-dev",
    "xmlversion.h": "libxml2-dev and libxslt1-dev",
    "xslt-config": "libxml2-dev and libxslt1-dev",
    "openssl/ssl.h": "libssl-dev",
    "openssl/opensslv.h": "libssl-dev",
    "sasl/sasl.h": "libsasl2-dev",
    "lber.h": "libldap2-dev",
    "jpeglib.h": "libjpeg-dev",
    "zlib.h": "zlib1g-dev",
    "cairo.h": "libcairo2-dev",
    "gdal-config": "libgdal-dev",
    "sqlite3.h": "libsqlite3-dev",
    "cargo": "cargo",
    "cmake": "cmake",
    "gcc": "gcc",
}


def explain(output: str, requirements: Requirements) -> Failure | None:
    """The reason why requirements.txt could not be installed; None where the output gives none that is known."""
    matchers: tuple[Callable[[str, Requirements], Failure | None], ...] = (
        _no_pip,
        _disk,
        _network,
        _syntax,
        _hash_differs,
        _hash_missing,
        _build_failed,
        _other_python,
        _unknown,
        _conflict,
    )
    for matcher in matchers:
        failure = matcher(output, requirements)
        if failure:
            return failure
    return None


def explain_tool(output: str) -> Failure | None:
    """The reason why uv itself could not be fetched."""
    reached = _reachability(output, "could not fetch uv")
    if reached:
        return reached
    if _NO_PIP in output:
        return Failure("needs pip in the build image to fetch uv", tries=(_WITH_PIP,))
    if "No matching distribution" in output:
        return Failure(
            "could not find uv at the package index", tries=("-e BP_PYTHON_PACKAGE_MANAGER=pip installs without uv",)
        )
    return None


def _no_pip(output: str, _: Requirements) -> Failure | None:
    return Failure(f"{_BRIEF}: the build image has no pip", tries=(_WITH_PIP,)) if _NO_PIP in output else None


def _disk(output: str, _: Requirements) -> Failure | None:
    if "No space left on device" not in output:
        return None
    return Failure(f"{_BRIEF}: the disk is full", tries=("make room, then build again",))


def _network(output: str, _: Requirements) -> Failure | None:
    return _reachability(output, _BRIEF)


def _reachability(output: str, brief: str) -> Failure | None:
    address = re.search(r"(?:Failed to fetch:|unable to access|host=)\s*[`'\"]?([^\s`'\",]+)", output)
    at = re.sub(r"//[^/@]*@", "//", address[1]) if address else ""
    if _says(output, _UNTRUSTED):
        return Failure(
            f"{brief}: the certificate of the package index is not trusted",
            at=at,
            tries=("add its authority to this machine's certificates; the build trusts what the machine trusts",),
        )
    if _says(output, _REFUSED):
        return Failure(
            f"{brief}: the package index refused access",
            at=at,
            tries=("check the user and password in PIP_INDEX_URL or UV_DEFAULT_INDEX",),
        )
    if _says(output, _UNREACHABLE):
        return Failure(
            f"{brief}: the package index cannot be reached",
            at=at,
            tries=("check the network and the proxy settings, then build again: this may pass by itself",),
        )
    return None


def _syntax(output: str, requirements: Requirements) -> Failure | None:
    uv = re.search(
        r"Couldn't parse requirement in `(?P<file>[^`]+)` at position \d+\n\s*cause: (?P<why>.*)\n\s+(?P<text>.*)",
        output,
    )
    pip = re.search(
        r"Invalid requirement: '?(?P<text>[^'\n]*?)'?(?:: (?P<why>.*?))? ?\(from line (?P<line>\d+) of", output
    )
    if uv:
        line = next((one for one in requirements.lines if one.text.startswith(uv["text"].strip())), None)
        return _bad_line(line, uv["why"])
    if pip:
        number = int(pip["line"])
        line = next((one for one in requirements.lines if one.line == number), None)
        return _bad_line(line, pip["why"] or "it is not a requirement")
    if "Invalid requirement:" in output:
        return _bad_line(None, "a line is not a requirement")
    return None


def _bad_line(line: Requirement | None, why: str) -> Failure:
    return Failure(
        f"could not read {NAME}: {why[:1].lower()}{why[1:]}", at=line.at if line else NAME, tries=("correct the line",)
    )


def _hash_differs(output: str, requirements: Requirements) -> Failure | None:
    found = re.search(r"Hash mismatch for `([^`]+)`", output) or re.search(
        r"DO NOT MATCH THE HASHES.*?\n\s+([^\s]+) from ", output, re.DOTALL
    )
    if not found:
        return None
    return Failure(
        f"{_BRIEF}: the hash of {found[1]} is not the one in the file",
        at=_place(requirements, found[1]),
        tries=(f"{_LOCK}   (when the version was changed by hand)", "ask who published the package, if it was not"),
    )


def _hash_missing(output: str, requirements: Requirements) -> Failure | None:
    found = re.search(
        r"(?:must have a hash, but none were provided for|must be pinned upfront with `==`, but found): `?([^\s`]+)",
        output,
    ) or re.search(r"Hashes are required in --require-hashes mode.*?\n\s+([A-Za-z0-9][^\s]*)", output, re.DOTALL)
    pinned = re.search(r"must have their versions pinned with ==.*?\n\s+([A-Za-z0-9][^\s]*)", output, re.DOTALL)
    found = found or pinned
    if not found:
        return None
    return Failure(
        f"{_BRIEF}: some lines have a hash, and {found[1]} has none",
        at=_place(requirements, found[1]),
        tries=(f"{_LOCK}   (writes all of them)",),
    )


def _build_failed(output: str, requirements: Requirements) -> Failure | None:
    found = re.search(
        r"Failed to build(?:able wheel| wheel)? (?:for )?`?([A-Za-z0-9][A-Za-z0-9._-]*(?:==[^\s`]+)?)", output
    ) or re.search(r"Failed building wheel for ([A-Za-z0-9._-]+)", output)
    if not found:
        return None
    missing = next((package for what, package in _DEBIAN.items() if _is_missing(what, output)), "")
    tries = [f"a version of {found[1].partition('==')[0]} that has a wheel for this Python"]
    if normal(found[1].partition("==")[0]) in {"psycopg2", "mysqlclient"}:
        tries.insert(
            0,
            "psycopg2-binary, which needs no compiler"
            if "psycopg2" in found[1]
            else "PyMySQL, which needs no compiler",
        )
    if missing:
        tries.append(f"a build image with the Debian package {missing}")
    why = f"; the build image lacks {missing}" if missing else ""
    return Failure(
        f"{_BRIEF}: {found[1]} has no wheel and could not be built{why}", at=_place(requirements, found[1]), tries=tries
    )


def _is_missing(what: str, output: str) -> bool:
    name = re.escape(what)
    return bool(
        re.search(
            rf"(?:fatal error: (?:\S*/)?{name}: No such file|{name}[^\n]{{0,40}}(?:not found|No such file)|"
            rf"(?:command|program|executable)[^\n]{{0,10}} '?{name}'?[^\n]{{0,20}}(?:failed: No such|not found))",
            output,
        )
    )


def _other_python(output: str, requirements: Requirements) -> Failure | None:
    found = re.search(
        r"the (?:current )?Python version \(([\d.]+)\) does not satisfy Python(\S+?)"
        r"(?: and ([A-Za-z0-9._-]+)[=<>~! ]|,)",
        output,
    )
    if found:
        name = found[3] or ""
        text = f"{_BRIEF}: {name or 'a package'} needs Python {found[2]}, and this builder has {found[1]}"
        return Failure(
            text, at=_place(requirements, name), tries=(f"a version of {name or 'it'} for Python {found[1]}",)
        )
    pip = re.search(
        r"Ignored the following versions that require a different python version: .*Requires-Python ([^;\n]+)", output
    )
    missing = re.search(r"No matching distribution found for ([^\s]+)", output)
    if pip and missing:
        text = f"{_BRIEF}: {missing[1]} needs Python {pip[1].strip()}"
        return Failure(text, at=_place(requirements, missing[1]), tries=("a version for this builder's Python",))
    return None


def _unknown(output: str, requirements: Requirements) -> Failure | None:
    found = (
        re.search(
            r"Because ([A-Za-z0-9._-]+) was not found in the (?:package registry|provided package locations)", output
        )
        or re.search(r"there (?:is|are) (?:no versions?|only the following versions?) of ([A-Za-z0-9._-]+)", output)
        or re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)", output)
    )
    if not found:
        return None
    line = requirements.find(found[1])
    if line is None:
        return Failure(f"{_BRIEF}: no version of {found[1]} fits", at=NAME, tries=(f"see which line needs {found[1]}",))
    return Failure(_BRIEF, at=line.at, tries=(_correction(line, output, requirements),))


def _correction(line: Requirement, output: str, requirements: Requirements) -> str:
    versions = re.search(r"\(from versions: ([^)]+)\)", output)
    known = versions[1].split(", ") if versions and versions[1] != "none" else []
    if known:
        return f"correct the version; the newest is {known[-1]}"
    others = sorted({one.name for one in requirements.lines if one.name} - {line.name})
    unknown = "was not found in the" in output or versions is not None
    similar = difflib.get_close_matches(line.name, others, n=1) if unknown else []
    if similar:
        return f"correct the line; a similar name in this file is {similar[0]}"
    return f"correct the line; `pip index versions {line.name}` lists what there is"


def _conflict(output: str, requirements: Requirements) -> Failure | None:
    if "requirements are unsatisfiable" not in output and "conflicting dependencies" not in output:
        return None
    wanted = re.search(r"And because you require ([A-Za-z0-9._-]+)", output) or re.search(
        r"The user requested ([A-Za-z0-9._-]+)", output
    )
    return Failure(
        f"{_BRIEF}: its lines ask for versions that do not go together",
        at=_place(requirements, wanted[1] if wanted else ""),
        tries=("loosen one of the versions named above",),
    )


def _place(requirements: Requirements, requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]*", requirement)
    line = requirements.find(name[0]) if name else None
    return line.at if line else NAME


def _says(output: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in output for phrase in phrases)
