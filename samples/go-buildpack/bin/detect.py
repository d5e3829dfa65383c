"""bin/detect for a Go module: the plan, and for development what becomes of a file that changes."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))

from packrunner.sdk.detect import Detect, main, rule

INSTALL = ("go", "install", ".")


def detect(context: Detect) -> None:
    context.provide("go")
    context.require("go")
    # The first rule that fits counts, and one for everything only after those of all buildpacks.
    context.live_reload(
        rule("rebuild", "go.mod", "go.sum", why="modules are fetched when the image is built"),
        rule("ignore", "**/*_test.go", "README.md", "project.toml", why="not part of the program"),
        rule("sync", "static/**", why="read when it is asked for"),
        rule("restart", "**/*.go", exec=INSTALL),
        rule("restart", "**", exec=INSTALL, why="may be compiled in"),
    )


main(detect)
