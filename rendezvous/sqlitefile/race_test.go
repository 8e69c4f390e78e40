//go:build race

package sqlitefile

// racing says that these tests look for races. They are then many times as slow, so that they look at chosen places, not at all.
const racing = true
