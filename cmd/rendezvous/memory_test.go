package main

import "testing"

func TestRoomForGarbage(t *testing.T) {
	tests := []struct {
		inUse uint64
		want  int
	}{
		{0, 1600},
		{8 << 20, 200},
		{16 << 20, 100},
		{32 << 20, 50},
		{400 << 20, 50},
	}
	for _, tc := range tests {
		if got := room(tc.inUse); got != tc.want {
			t.Errorf("%d MiB in use: got %d %%, want %d %%", tc.inUse>>20, got, tc.want)
		}
	}
}

func TestMemoryIsGivenBackWhenAWaveIsOver(t *testing.T) {
	m := newMemory()
	steps := []struct {
		name       string
		goroutines int
		want       bool
	}{
		{"some peers", 200, false},
		{"they stay", 200, false},
		{"a wave comes", 3000, false},
		{"and grows", 8500, false},
		{"more slowly", 9000, false},
		{"and is over", 9010, true},
		{"once is enough", 9020, false},
		{"a few come and go", 9100, false},
		{"a few more", 9600, false},
		{"a tenth more", 10_100, false},
		{"that stay", 10_100, true},
		{"most leave", 500, false},
		{"and stay away", 500, true},
	}
	for _, s := range steps {
		if got := m.calm(s.goroutines); got != s.want {
			t.Errorf("%s: got %v, want %v", s.name, got, s.want)
		}
	}
}
