"""Packages' scripts are read and not run: the links that they would make, and what is missing without them."""

from __future__ import annotations

import pytest

from packrunner.bases.scripts import links, undone

GCC = b"""#!/bin/sh
set -e
update-alternatives --quiet \\
    --install /usr/bin/cc cc /usr/bin/gcc 20 \\
    --slave /usr/share/man/man1/cc.1.gz cc.1.gz /usr/share/man/man1/gcc.1.gz
"""
LOOP = b"""for i in vi view; do
    update-alternatives --install /usr/bin/$i $i /usr/bin/vim.basic 30
done
"""
ACCOUNT = b"if ! getent passwd postgres; then\n  adduser --system --home /var/lib/postgresql postgres\nfi\n"


def test_links_that_stand_there_are_found() -> None:
    assert links([GCC]) == {
        "/usr/bin/cc": "/usr/bin/gcc",
        "/usr/share/man/man1/cc.1.gz": "/usr/share/man/man1/gcc.1.gz",
    }
    assert undone(GCC) == ()


def test_the_best_of_several_is_linked_whatever_their_order() -> None:
    mawk = b"update-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 --slave /usr/bin/nawk nawk /usr/bin/mawk\n"
    gawk = b"update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10\n"
    for order in ([mawk, gawk], [gawk, mawk]):
        assert links(order) == {"/usr/bin/awk": "/usr/bin/gawk", "/usr/bin/nawk": "/usr/bin/mawk"}


@pytest.mark.parametrize(("script", "what"), [(LOOP, ("links",)), (ACCOUNT, ("accounts",)), (b"", ())])
def test_what_only_running_would_tell_is_named(script: bytes, what: tuple[str, ...]) -> None:
    assert links([script]) == {}
    assert undone(script) == what


@pytest.mark.parametrize(
    "script",
    [
        b"# update-alternatives --install /usr/bin/a a /usr/bin/b 1\n",
        b"update-alternatives --remove cc /usr/bin/gcc\n",
        b"update-alternatives --install ../../etc/passwd a /usr/bin/b 1\n",
        b"update-alternatives --install /usr/bin/a a /usr/../../b 1\n",
        b"\xff\x00",
        b"# adduser --system x\n",
        b"echo 'see adduser(8)'\n",
    ],
)
def test_nothing_is_made_up(script: bytes) -> None:
    assert links([script]) == {}
    assert undone(script) == ()
