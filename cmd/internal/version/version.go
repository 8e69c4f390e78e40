// Package version says which build this is, from what the Go toolchain has recorded in the binary.
package version

import "runtime/debug"

// unknown is the version of a build about which nothing was recorded.
const unknown = "devel"

// String returns the module's version, as v1.2.3; for a build from a work tree "devel", with the first twelve digits of the
// commit and "-dirty" where the tree had changes, as far as that was recorded.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	return of(info)
}

func of(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	return unknown + commit + dirty
}

// Go returns the version of the toolchain and what it built for, as "go1.26.8 linux/amd64".
func Go() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	target := map[string]string{}
	for _, s := range info.Settings {
		target[s.Key] = s.Value
	}
	return info.GoVersion + " " + target["GOOS"] + "/" + target["GOARCH"]
}
