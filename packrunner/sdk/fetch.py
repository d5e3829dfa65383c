"""Fetch a file whose SHA-256 is known, from https or http; proxies and certificates are those of the environment.

The file has its name only when all of it has been verified. What is there already and has the digest is not fetched
again, so a layer with `cache` keeps downloads from build to build.
"""

from __future__ import annotations

import os

from .report import Failure, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPMessage, HTTPResponse
    from ssl import SSLContext
    from typing import IO
    from urllib.request import OpenerDirector, Request

_CHUNK = 1 << 18
_TIMEOUT = 30.0
"""How long a server may be silent: seconds."""
_WAITS = (1.0, 4.0)
"""Between attempts: seconds."""
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be others in a moment."""
_LIMIT = 8 << 30
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""What names certificates where SSL_CERT_FILE does not."""


class _Passing(Exception):  # noqa: N818 - a reason to try again, not an error yet
    """What another attempt may get over."""


def download(
    url: str,
    *,
    sha256: str,
    to: str,
    headers: Mapping[str, str] | None = None,
    limit: int = _LIMIT,
    sleep: Callable[[float], object] | None = None,
) -> str:
    """Make the file `to` of what is at `url`, unless it is that already; return its path. Raises Failure.

    A login in the address and `headers` go to its host only, and are in no message. `limit` is a number of bytes.
    """
    wanted = _Wanted(url, sha256.lower(), headers or {}, limit)
    try:
        if _digest(to) == wanted.sha256:
            return to
        say(f"fetching {wanted.shown}")
        os.makedirs(os.path.dirname(to) or ".", exist_ok=True)
        _fetch(wanted, to, sleep or _sleep)
    except OSError as error:
        raise Failure(f"could not write {to}: {error.strerror}") from error
    return to


def _fetch(wanted: _Wanted, to: str, sleep: Callable[[float], object]) -> None:
    opener = _opener()
    for wait in _WAITS:
        try:
            _attempt(opener, wanted, to)
        except _Passing:
            sleep(wait)
        else:
            return
    try:
        _attempt(opener, wanted, to)
    except _Passing as passing:
        raise Failure(
            f"could not fetch {wanted.shown}: {passing}",
            tries=("look whether the address can be reached from here, through a proxy maybe, and build again",),
        ) from passing


class _Wanted:
    """What is fetched, and the checks of it."""

    def __init__(self, url: str, sha256: str, headers: Mapping[str, str], limit: int) -> None:
        self.url = url
        self.shown = _shown(url)
        self.sha256 = sha256
        self.headers = headers
        self.limit = limit

    def check(self, digest: str, size: int, promised: str) -> None:
        if promised.isdigit() and int(promised) != size:
            raise _Passing(f"the connection ended after {size} of {promised} bytes")
        if digest != self.sha256:
            raise Failure(
                f"fetched {self.shown}, and it is not what was expected",
                at=f"sha256 {digest}, not {self.sha256}",
                tries=("find out who changed it before you change the checksum",),
            )


def _sleep(seconds: float) -> None:
    from time import sleep

    sleep(seconds)


def _attempt(opener: OpenerDirector, wanted: _Wanted, to: str) -> None:
    from hashlib import sha256

    part = f"{to}.part"
    hashed = sha256()
    size = 0
    try:
        with _open(opener, wanted) as answer, open(part, "wb") as file:
            while chunk := _read(answer):
                size += len(chunk)
                if size > wanted.limit:
                    raise Failure(f"could not fetch {wanted.shown}: it has more than {wanted.limit} bytes")
                hashed.update(chunk)
                file.write(chunk)
            promised = answer.headers.get("Content-Length", "")
        wanted.check(hashed.hexdigest(), size, promised)
        os.replace(part, to)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def _open(opener: OpenerDirector, wanted: _Wanted) -> HTTPResponse:
    from http.client import HTTPException, responses
    from ssl import SSLCertVerificationError
    from urllib.error import HTTPError, URLError

    try:
        found: HTTPResponse = opener.open(_request(wanted.url, wanted.headers), timeout=_TIMEOUT)
    except HTTPError as error:
        # Not urllib's words or the server's: they may have an address with a login in it.
        answer = f"{error.code} {responses.get(error.code, '')}".strip()
        with error:
            if error.code in _AGAIN:
                raise _Passing(f"the server answers {answer}") from error
            login = ("give the build a login for it",) if error.code in {401, 403} else ()
            raise Failure(f"could not fetch {wanted.shown}: {answer}", tries=login) from error
    except URLError as error:
        if isinstance(error.reason, SSLCertVerificationError):
            raise Failure(
                f"could not fetch {wanted.shown}: {error.reason.verify_message}",
                tries=("give the build the certificate of the authority: packrunner build --ca-cert FILE",),
            ) from error
        raise _Passing(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (OSError, HTTPException) as error:
        raise _Passing(str(error) or type(error).__name__) from error
    return found


def _read(answer: HTTPResponse) -> bytes:
    from http.client import HTTPException

    try:
        return answer.read(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _Passing(f"the connection ended: {str(error) or type(error).__name__}") from error


def _request(url: str, headers: Mapping[str, str]) -> Request:
    from base64 import b64encode
    from urllib.parse import unquote_to_bytes, urlsplit
    from urllib.request import Request

    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise Failure(f"cannot fetch {_shown(url)}: an address begins with https:// or http://")
    login, _, host = parts.netloc.rpartition("@")
    request = Request(parts._replace(netloc=host).geturl())  # noqa: S310 - the scheme has been looked at
    # urllib would send what it calls headers to wherever a server redirects.
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    if login:
        user, _, password = login.partition(":")
        encoded = b64encode(b":".join((unquote_to_bytes(user), unquote_to_bytes(password))))
        request.add_unredirected_header("Authorization", f"Basic {encoded.decode()}")
    return request


def _opener() -> OpenerDirector:
    from urllib.request import HTTPRedirectHandler, HTTPSHandler, build_opener

    class Redirects(HTTPRedirectHandler):
        def redirect_request(  # noqa: PLR0917 - its caller is urllib
            self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> Request | None:
            if not newurl.startswith("https://") and not (req.type == "http" and newurl.startswith("http://")):
                raise Failure(
                    f"could not fetch {_shown(req.full_url)}: it leads to {_shown(newurl)}, which is no https"
                )
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return build_opener(HTTPSHandler(context=_certificates()), Redirects())


def _certificates() -> SSLContext:
    from ssl import create_default_context

    context = create_default_context()
    if "SSL_CERT_FILE" not in os.environ:
        for name in _BUNDLES:
            bundle = os.environ.get(name, "")
            if os.path.isfile(bundle):
                context.load_verify_locations(cafile=bundle)
    return context


def _shown(url: str) -> str:
    """The address for people: without a login, and without a query, which may be one."""
    scheme, separator, rest = url.partition("?")[0].partition("#")[0].partition("://")
    if not separator:
        return scheme.rpartition("@")[2]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _digest(path: str) -> str:
    """Of a file that is there; empty for none."""
    if not os.path.isfile(path):
        return ""
    from hashlib import file_digest

    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()
