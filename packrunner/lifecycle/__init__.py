"""The phases of a build, one module each, and the runner that calls them in order."""
