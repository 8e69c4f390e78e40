//go:build !race

package peertest_test

const racing = false
