"""bin/build: esbuild in a cached layer, src/main.ts and what it imports in public/."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))

from packrunner.sdk.build import Build, main
from packrunner.sdk.sbom import Component, purl

VERSION = "0.28.2"
ARCHIVES = {  # by architecture: npm's name for it, and the digest
    "amd64": ("linux-x64", "9573bb2233aab0f9ea7647d5cca9726113cc1768de61d66b17267f4db84488f6"),
    "arm64": ("linux-arm64", "a96dbfa41d3ef5dbd1ef22b1c10d5187be9267e86093a870f06402a7ec931596"),
}


def build(context: Build) -> None:
    sourcemap = context.flag("BP_ESBUILD_SOURCEMAP", default=context.development)
    layer = context.layer("esbuild", build=True, cache=True, launch=context.development)
    program = os.path.join(layer.path, "bin/esbuild")
    if not layer.reuse({"esbuild": VERSION, "arch": context.target.arch}, source="version"):
        name, sha256 = ARCHIVES[context.target.arch]
        url = f"https://registry.npmjs.org/@esbuild/{name}/-/{name}-{VERSION}.tgz"
        layer.unpack(context.download(url, sha256=sha256), only=["package/bin"], strip=1)
        package = purl("npm", name, VERSION, namespace="@esbuild")
        layer.components(
            Component("esbuild", VERSION, kind="application", purl=package, license="MIT", url=url, sha256=sha256)
        )
        layer.env("ESBUILD_BINARY_PATH", program)  # packages of npm that bring an esbuild of their own use this one
        layer.describe(VERSION)
    options = ["--bundle", "--outdir=public", "--log-level=warning", "--sourcemap" if sourcemap else "--minify"]
    context.run([program, "src/main.ts", *options], doing="bundle src/main.ts")
    context.step = f"public/main.js, {os.path.getsize(context.path('public/main.js'))} bytes"


main(build)
