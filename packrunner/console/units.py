"""Durations, sizes, counts and lists as people read them: pure functions. The start module uses them: no imports."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def duration(seconds: float) -> str:
    """`<1ms`, `38ms`, `6.1s`, `2m 05s`, `1h 02m`."""
    if seconds < 0.001:
        return "<1ms"
    if seconds < 0.9995:
        return f"{round(seconds * 1000)}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    return coarse(seconds)


def coarse(seconds: float) -> str:
    """A duration that is still growing: whole seconds, `10s`, `2m 05s`, `1h 02m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def size(count: int) -> str:
    """Bytes in decimal units: `912 B`, `48 kB`, `74.6 MB`, `1.2 GB`."""
    if count < 1000:
        return f"{count} B"
    if count < 999_500:
        return f"{round(count / 1000)} kB"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if unit != "kB" and value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} PB"


def short(digest: str) -> str:
    """Twelve digits of a digest, without its algorithm."""
    return digest.rpartition(":")[2][:12]


def number(count: int, singular: str, plural: str = "") -> str:
    """`no layers`, `1 layer`, `5 layers`."""
    if count == 1:
        return f"1 {singular}"
    return f"{count or 'no'} {plural or singular + 's'}"


def names(items: Sequence[str], total: int | None = None) -> str:
    """Up to three names, then a count: `libssl3, libc6 and 4 more`. `total` counts what `items` leaves out too."""
    total = max(len(items), total or 0)
    if total <= 3 and len(items) == total:
        return ", ".join(items)
    shown = items[: 3 if total == 3 else 2]
    return f"{', '.join(shown)} and {total - len(shown)} more" if shown else f"{total}"


def age(seconds: float) -> str:
    """One unit, rounded down: `4 min ago`."""
    for unit, length in (("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600)):
        if seconds >= length:
            return f"{number(int(seconds // length), unit)} ago"
    return f"{int(seconds // 60)} min ago" if seconds >= 60 else "just now"


def shorten(text: str, width: int, *, ellipsis: str = "...") -> str:
    """Cut the end of a text."""
    if len(text) <= width:
        return text
    return text[: max(0, width - len(ellipsis))].rstrip() + ellipsis if width > len(ellipsis) else ""


def shorten_middle(text: str, width: int, *, ellipsis: str = "...") -> str:
    """Cut the middle of a name."""
    if len(text) <= width or width <= len(ellipsis):
        return text
    kept = width - len(ellipsis)
    return text[: kept - kept // 2] + ellipsis + text[len(text) - kept // 2 :]
