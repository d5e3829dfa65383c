"""What a browser is given so that it shows changes by itself: a script in each page, and a page where there is none."""

from __future__ import annotations

import html
import re

PLACE = "/__packrunner"
"""The path below which the proxy answers itself."""

_HEAD = re.compile(rb"<head(?:\s[^>]*)?>", re.IGNORECASE)
_TAG = f'<script src="{PLACE}/reload.js"></script>'.encode()
_LOOK = 1 << 14
"""Bytes of a page within which its head begins."""

SCRIPT = """(() => {
  let gone = false, wait = 100;
  const styles = () => {
    for (const link of document.querySelectorAll('link[rel~="stylesheet"][href]')) {
      const url = new URL(link.href);
      if (url.origin !== location.origin) continue;
      url.searchParams.set("__packrunner", Date.now());
      const next = link.cloneNode();
      next.href = url;
      next.onload = () => link.remove();
      link.after(next);
    }
  };
  const connect = () => {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "PLACE/socket");
    socket.onopen = () => { if (gone) location.reload(); wait = 100; };
    socket.onmessage = (message) => { if (message.data === "styles") styles(); else location.reload(); };
    socket.onclose = () => { gone = true; setTimeout(connect, wait); wait = Math.min(2 * wait, 2000); };
  };
  connect();
})();
""".replace("PLACE", PLACE)
"""Waits for word from the proxy; when the proxy itself was away, the page is loaded again."""


class Injector:
    """Puts the script's tag into a page that passes through, at the start of its head, else at its end."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._done = False

    def feed(self, data: bytes) -> bytes:
        """What can be passed on, now that `data` came; only the page's beginning is ever held back."""
        if self._done:
            return data
        self._held += data
        if found := _HEAD.search(self._held):
            return self._release(found.end())
        if len(self._held) < _LOOK:
            return b""
        return self._release(None)

    def end(self) -> bytes:
        """The rest."""
        if self._done:
            return b""
        return self._release(len(self._held))

    def _release(self, at: int | None) -> bytes:
        self._done = True
        held = bytes(self._held)
        self._held.clear()
        return held if at is None else held[:at] + _TAG + held[at:]


def apology(title: str, text: str) -> bytes:
    """The page that is shown while the application gives none; it is replaced as soon as that has changed."""
    return f"""<!doctype html>
<html lang="en"><head>{_TAG.decode()}<meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 10vh auto; padding: 0 1.5rem }}
h1 {{ font-size: 1.25rem; font-weight: 600 }}
pre {{ font: 14px/1.45 ui-monospace, monospace; padding: 1rem; overflow-x: auto; border-radius: .5rem;
  background: light-dark(#f4f4f5, #27272a) }}
p {{ opacity: .7 }}
</style></head>
<body><h1>{html.escape(title)}</h1>{f"<pre>{html.escape(text)}</pre>" if text else ""}
<p>This page reloads by itself.</p></body></html>
""".encode()
