"""Buildpacks of your own: packages of them, and what is in those of others."""
