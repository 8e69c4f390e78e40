//go:build !race

package sqlitefile

const racing = false
