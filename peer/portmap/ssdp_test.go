package portmap

import "testing"

// FuzzAnswer: whatever a datagram holds, it leads nowhere but to the gateway.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:5000/root.xml\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nLOCATION: /root.xml\r\nContent-Length: 9\r\n\r\n"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if where, ok := location(datagram, home); ok && !on(where, home) {
			t.Errorf("it leads to %s", where)
		}
	})
}
