module packrunner/launcher

go 1.27.0

require golang.org/x/sys v0.49.0
