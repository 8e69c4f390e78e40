package portmap

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
)

// TestDescribe: a router whose description is too long, sends us elsewhere or names a service elsewhere is not used.
func TestDescribe(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody else was asked") }))
	defer elsewhere.Close()
	device := func(control string) string {
		return `<root xmlns="urn:schemas-upnp-org:device-1-0"><device><serviceList><service>
			<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>` + control + `</controlURL>
			</service></serviceList></device></root>`
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   bool
	}{
		{"a router", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, device("/control")) }, true},
		{"a service elsewhere", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, device("http://10.9.9.9/control"))
		}, false},
		{"sent elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, false},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), maxAnswer))
			_, _ = io.WriteString(w, device("/control"))
		}, false},
		{"no XML", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<root><<<") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			router := httptest.NewServer(tt.answer)
			defer router.Close()
			where, err := url.Parse(router.URL)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(t.Context(), where, netip.MustParseAddr("127.0.0.1")); (got != nil) != tt.want {
				t.Errorf("found %v", got)
			}
		})
	}
}
