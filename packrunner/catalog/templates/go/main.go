// A buildpack as one static program: bin/detect and bin/build are copies of it, and tell themselves apart by name.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// declined is the exit code of a buildpack that does not apply.
const declined = 100

func main() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "detect":
		err = detect()
	case "build":
		err = build()
	default:
		err = fmt.Errorf("called as %s, which is neither detect nor build", os.Args[0])
	}
	if err != nil {
		os.Exit(tell(err))
	}
}

// detect says whether this buildpack applies to an application, and what it needs of others.
// Change this first: which applications does it build?
func detect() error {
	if _, err := os.Stat("hello.txt"); err != nil {
		fmt.Println("try: create hello.txt with a greeting")
		fmt.Println("needs hello.txt")
		os.Exit(declined)
	}
	plan := "[[provides]]\nname = \"hello\"\n\n[[requires]]\nname = \"hello\"\n"
	return os.WriteFile(os.Getenv("CNB_BUILD_PLAN_PATH"), []byte(plan), 0o644)
}
