"""One first export of a directory as a layer, tar stored: `python -m benchmarks.write_layer DIRECTORY STORE`."""

from __future__ import annotations

import sys

from packrunner.images.layer import Tree, write_layer
from packrunner.images.store import LocalStore

if __name__ == "__main__":
    source, store = sys.argv[1:]
    write_layer(
        LocalStore(store), [Tree(source=source, target="/workspace", uid=1000, gid=1000)], created_by="benchmark"
    )
