"""bin/detect: the plan, and for development what becomes of a file that changes."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))

from packrunner.sdk.detect import Detect, main, rule


def detect(context: Detect) -> None:
    context.provide("esbuild")
    context.require("esbuild")
    bundle = ["esbuild", "src/main.ts", "--bundle", "--outdir=public", "--log-level=warning"]
    context.live_reload(
        rule("sync", "src/**", exec=bundle, why="bundled into public"),
        rule("sync", "public/**", why="read when it is asked for"),
    )


main(detect)
