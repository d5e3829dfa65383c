"""Buildpacks: where they are, staged copies of them, and the selection that a build uses."""
