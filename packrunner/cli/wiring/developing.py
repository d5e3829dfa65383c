"""`packrunner dev`, composed: the watcher, builds in the background, the place where versions run."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from packrunner.cli.wiring import engines, reach
from packrunner.cli.wiring.ground import Abroad, Front, Ground
from packrunner.cli.wiring.versions import Builder
from packrunner.dev.doors import Doors, Key, Over
from packrunner.dev.session import Session
from packrunner.errors import PackrunnerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from packrunner.cli.services import Shown, Wish
    from packrunner.dev.doors import Item
    from packrunner.dev.watch import Watcher
    from packrunner.events import Warned
    from packrunner.lifecycle.bindings import Held
    from packrunner.lifecycle.request import BuildRequest

KEYS = "r restart   b rebuild   l rules   q quit"
KEYS_ABROAD = "r restart   l rules   q quit"


def develop(request: BuildRequest, wish: Wish, shown: Shown, held: Held | None = None) -> None:
    """Build, run, and keep what runs like its source, until it is told to stop."""
    began = time.monotonic()
    with ExitStack() as stack:
        watcher = stack.enter_context(_watcher(request, wish, shown.reporter.emit))
        mark = watcher.tree.mark()
        front = Front(stack, opens=wish.opens)
        daemon = engines.daemons(stack, request.docker_host, offline=request.offline)
        builder: Builder | None = None
        ground: Ground | Abroad
        if wish.container:
            ground = Abroad(daemon(), wish.container, watcher)
            version = ground.version
        else:
            builder = Builder(request, shown, held)
            stack.callback(builder.close)
            version = builder.first()
            engine = engines.chosen(request, reach.of(request).certificates, daemon, stack).engine
            ground = Ground(engine, request, wish, builder.images, watcher=watcher, front=front)
        shown.begin()
        session = Session(
            Doors(
                source=watcher.tree,
                start=lambda one, run: ground.start(one, run, session.queue.put),
                build=(lambda: builder.again(session.queue.put)) if builder else None,
                reporter=shown.reporter,
                problem=shown.problem,
                browser=front,
            ),
            name=wish.name,
            keys="" if wish.keys is None else KEYS if builder else KEYS_ABROAD,
        )
        if wish.keys:
            stack.enter_context(wish.keys(lambda key: session.queue.put(Key(key))))
        thread = threading.Thread(target=_watch, args=(watcher, session.queue.put), name="watch", daemon=True)
        thread.start()
        # It has to be gone before the watcher gives up its descriptors.
        stack.callback(thread.join, 5)
        stack.callback(watcher.close)
        session.run(version, began=began, mark=mark)


def _watcher(request: BuildRequest, wish: Wish, notice: Callable[[Warned], None]) -> Watcher:
    from packrunner.dev.ignored import Ignored
    from packrunner.dev.watch import Watcher
    from packrunner.lifecycle.application import rules_of

    project = rules_of(request)
    return Watcher(request.source, Ignored(request.source, project=project), notice=notice, poll=wish.poll)


def _watch(watcher: Watcher, put: Callable[[Item], None]) -> None:
    try:
        for batch in watcher.batches():
            put(batch)
    except PackrunnerError as error:
        put(Over(error))
