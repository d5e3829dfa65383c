"""What a buildpack written in Python builds on: `sdk.detect` for its bin/detect, `sdk.build` for its bin/build.

A buildpack whose buildpack.toml says `[metadata.packrunner] sdk = true` gets this package as `lib/packrunner/sdk`
beside its `bin` when it is staged or packaged; its scripts start with

    sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))

It depends on nothing but Python >= 3.11, not even on the rest of packrunner, and works under every lifecycle that has
Buildpack API 0.9 or later. Each call of a buildpack is a new interpreter, so each import is part of every build: this
module imports nothing, and the others nothing beyond `os` and `sys` until they need it.
"""
