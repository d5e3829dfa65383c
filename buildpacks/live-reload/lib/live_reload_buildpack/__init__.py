"""packrunner/live-reload."""
