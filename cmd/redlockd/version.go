package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is what HELLO and INFO answer: plain x.y.z, which clients compare.
const version = "0.1.0"

// versionLine tells a person exactly which build this is.
func versionLine() string {
	line := fmt.Sprintf("redlockd %s (%s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				line += ", revision " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				line += ", modified"
			}
		}
	}
	return line + ")"
}
