# The plan of bin/detect for development, where live reload is in reach: the same, and which changed files mean what.
printf '%s\n' '[[provides]]
name = "procfile"

[[requires]]
name = "procfile"

[[requires]]
name = "live-reload"

[requires.metadata]
buildpack = "packrunner/procfile"
version = "0.1.0"

[[requires.metadata.rules]]
src = ["Procfile"]
action = "rebuild"
why = "names the processes of the image"

[[requires.metadata.rules]]
src = ["**"]
action = "restart"
why = "may be read when a process starts"

[[or]]
[[or.provides]]
name = "procfile"

[[or.requires]]
name = "procfile"' >"$CNB_BUILD_PLAN_PATH"
