"""Docker Compose with images that packrunner makes: its watch copies changed files, as buildpacks say."""
