//go:build race

package peertest_test

// racing says that the race detector runs, which makes everything ten times as slow.
const racing = true
