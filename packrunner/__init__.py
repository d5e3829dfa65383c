"""packrunner: a Cloud Native Buildpacks platform and lifecycle."""
