package launch

import (
	"strconv"
	"strings"
)

// version is an API version. Below 1.0, which is all there is, versions are compatible only when equal.
type version struct{ major, minor int }

var (
	oldestPlatform, newestPlatform   = version{0, 7}, version{0, 15}
	oldestBuildpack, newestBuildpack = version{0, 7}, version{0, 12}

	platformReplacesArgs = version{0, 10} // user arguments replace args (LAU-06); `command` is a list
	platformHasExecEnv   = version{0, 15} // processes are bound to execution environments (LAU-08)
	buildpackDirectOnly  = version{0, 9}  // processes are direct and their args replaceable (LAU-06, LAU-07)
)

func parseVersion(text string) (version, bool) {
	major, minor, dotted := strings.Cut(text, ".")
	if !dotted {
		minor = "0"
	}
	high, err := strconv.ParseUint(major, 10, 16)
	if err != nil {
		return version{}, false
	}
	low, err := strconv.ParseUint(minor, 10, 16)
	return version{int(high), int(low)}, err == nil
}

func (v version) less(other version) bool {
	return v.major < other.major || v.major == other.major && v.minor < other.minor
}

func (v version) within(oldest, newest version) bool {
	return !v.less(oldest) && !newest.less(v)
}

func platformVersion(text string) (version, error) {
	if text == "" {
		return version{}, fail(CodePlatformAPI, "CNB_PLATFORM_API is not set: set it to the Platform API that the image was built with, such as 0.15")
	}
	parsed, ok := parseVersion(text)
	if !ok || !parsed.within(oldestPlatform, newestPlatform) {
		return version{}, fail(CodePlatformAPI, "CNB_PLATFORM_API=%s is not supported: this launcher speaks 0.7 to 0.15", text)
	}
	return parsed, nil
}

func buildpackVersion(id, text string) (version, error) {
	parsed, ok := parseVersion(text)
	if !ok || !parsed.within(oldestBuildpack, newestBuildpack) {
		return version{}, fail(CodeBuildpackAPI, "buildpack %s has API %q, this launcher knows 0.7 to 0.12: rebuild the image with a matching buildpack", id, text)
	}
	return parsed, nil
}
