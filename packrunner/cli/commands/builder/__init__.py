"""Builders: the base images that applications are built in and run on."""
