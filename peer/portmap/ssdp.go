package portmap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// search asks which routers are there. They answer within a second (MX), which leaves another for the way.
const search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n" +
	"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"

// ssdpGroup is where those listen that can be searched for.
var ssdpGroup = netip.MustParseAddrPort("239.255.255.250:1900")

// Bounds of what a router says.
const (
	maxDatagram = 2048 // bytes of an answer to the search
	maxPlaces   = 8    // of descriptions that are read
)

// descriptions asks which routers are there and yields where the gateway says that it is described, until ctx ends. Nobody else is heard.
func descriptions(ctx context.Context, gateway, own netip.Addr) (iter.Seq[*url.URL], error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: own.AsSlice()})
	if err != nil {
		return nil, err
	}
	var sent error
	for range 2 { // one may be lost
		_, err := conn.WriteToUDPAddrPort([]byte(search), ssdpGroup)
		sent = errors.Join(sent, err)
	}
	if sent != nil {
		return nil, errors.Join(sent, conn.Close())
	}
	return func(yield func(*url.URL) bool) {
		defer func() { _ = conn.Close() }() // nothing is left to be written
		answers(ctx, conn, gateway)(yield)
	}, nil
}

// answers reads what the gateway answers to a search.
func answers(ctx context.Context, conn *net.UDPConn, gateway netip.Addr) iter.Seq[*url.URL] {
	return func(yield func(*url.URL) bool) {
		stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		told := map[string]bool{}
		datagram := make([]byte, maxDatagram)
		for len(told) < maxPlaces {
			n, from, err := conn.ReadFromUDPAddrPort(datagram)
			if err != nil {
				return
			}
			if from.Addr().Unmap() != gateway {
				continue
			}
			where, ok := location(datagram[:n], gateway)
			if !ok || told[where.String()] {
				continue
			}
			told[where.String()] = true
			if !yield(where) {
				return
			}
		}
	}
}

// location returns the place on the gateway that an answer names.
func location(datagram []byte, gateway netip.Addr) (*url.URL, bool) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(datagram)), nil)
	if err != nil {
		return nil, false
	}
	_ = resp.Body.Close() // it is in memory
	where, err := resp.Location()
	return where, err == nil && on(where, gateway)
}

// on reports whether a URL is one of the gateway.
func on(where *url.URL, gateway netip.Addr) bool {
	host, err := netip.ParseAddr(where.Hostname())
	return err == nil && where.Scheme == "http" && host.Unmap() == gateway
}
