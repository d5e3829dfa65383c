// Package launch starts a process of an image that buildpacks have built, as the launch section of the Cloud Native
// Buildpacks specification says.
package launch

import "fmt"

// Exit codes of the launcher itself (LAU-19); those of the process are the process's own.
const (
	CodeMetadata     = 1
	CodePlatformAPI  = 11
	CodeBuildpackAPI = 12
	CodeLaunch       = 82
)

// Failure is an error with the launcher's exit code.
type Failure struct {
	Code int
	Text string
}

func (f *Failure) Error() string { return f.Text }

func fail(code int, format string, details ...any) *Failure {
	return &Failure{Code: code, Text: fmt.Sprintf(format, details...)}
}
