"""Byte-compile a tree so that the same sources always give the same bytes, however many processors there are.

Run as a script: `compile_all.py DIRECTORY WORKERS`. What marshal writes depends on which strings the process has seen
before, so neither a pool of workers nor their number may decide it: files are taken in order, in portions of a fixed
size, and each portion is compiled by a process forked for it alone. Unchecked hashes, because an image's file times
are all the same.
"""

from __future__ import annotations

import os
import py_compile
import sys

_PORTION = 32


def sources(root: str) -> list[str]:
    """Every .py file below `root`, sorted; what cannot be imported by name is left out."""
    found: list[str] = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if name != "__pycache__")
        found.extend(os.path.join(directory, name) for name in sorted(files) if name.endswith(".py"))
    return found


def compile_portion(paths: list[str]) -> None:
    """Compile these files; templates and code for other Pythons, which do not compile, stay as they are."""
    for path in paths:
        try:
            py_compile.compile(
                path, doraise=True, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
            )
        except (py_compile.PyCompileError, ValueError, RecursionError):
            continue


def compile_tree(root: str, workers: int) -> None:
    """Compile all of a tree with at most `workers` processes at once; raises OSError when one of them dies."""
    paths = sources(root)
    running = 0
    for start in range(0, len(paths), _PORTION):
        if running >= workers:
            _wait()
            running -= 1
        if os.fork() == 0:
            # No clean-up of the parent's: this process ends here, whatever happens.
            code = 1
            try:
                compile_portion(paths[start : start + _PORTION])
                code = 0
            finally:
                os._exit(code)
        running += 1
    for _ in range(running):
        _wait()


def _wait() -> None:
    _, status = os.wait()
    if status:
        raise OSError(f"a compiling process ended with {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    compile_tree(sys.argv[1], int(sys.argv[2]))
