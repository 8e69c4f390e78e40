package portmap

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAnswers: only what the gateway itself says of itself counts, each place once. Only Linux has all of 127.0.0.0/8 on its loopback.
func TestAnswers(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	say := func(from, text string) {
		t.Helper()
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, conn.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(where string) string { return "HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: " + where + "\r\n\r\n" }
	say("127.0.0.2", at("http://127.0.0.1:9/stranger"))
	say("127.0.0.1", "HTTP/1.1 200 OK\r\n\x1b[2Jno header\r\n\r\n")
	say("127.0.0.1", at("http://127.0.0.2:9/other"))
	say("127.0.0.1", "HTTP/1.1 200 OK\r\n\r\n")
	say("127.0.0.1", at("http://127.0.0.1:9/one"))
	say("127.0.0.1", at("http://127.0.0.1:9/one"))
	say("127.0.0.1", at("http://127.0.0.1:9/two"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var got []string
	for where := range answers(ctx, conn, netip.MustParseAddr("127.0.0.1")) {
		got = append(got, where.Path)
	}
	if diff := cmp.Diff([]string{"/one", "/two"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
