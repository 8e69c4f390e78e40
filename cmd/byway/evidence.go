package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// evidence is what "online" is based on, for people.
func evidence(e *peer.Evidence, now time.Time) string {
	if e.Heard == nil {
		return "-"
	}
	age := ago(*e.Heard, now)
	switch e.HeardBy {
	case peer.SignPresence:
		return "the rendezvous says so"
	case peer.SignHeartbeat, peer.SignPong, peer.SignReceipt:
		return fmt.Sprintf("answered %s, %s", age, e.HeardWay)
	case peer.SignMessage, peer.SignSignal:
	}
	return fmt.Sprintf("heard %s, %s", age, e.HeardWay)
}

// ago is how long ago something was, in whole seconds at least.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < time.Second: // also where the clock was set back
		return "just now"
	case d < 10*time.Second:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	}
	return inWords(d) + " ago"
}

// routeTable is every way to a user, and under it what the two sides have found out and what the reasons mean.
func routeTable(list []peer.RouteEntry, now time.Time) [][]string {
	rows := [][]string{{"WAY", "STATE", "RTT", "IN USE", "TRIED", "HEARD", "REASON", "DEVICE", "ADDRESS"}}
	for i := range list {
		r := &list[i]
		rtt, tried := "-", "-"
		if r.RTT != nil {
			rtt = inWords(milliseconds(*r.RTT))
		}
		if r.Tried != nil {
			tried = ago(*r.Tried, now)
		}
		rows = append(rows, []string{
			string(r.Way), r.State, rtt, yes(r.InUse), tried, evidence(&r.Evidence, now), orDash(r.Reason), orDash(r.Device), orDash(r.Addr),
		})
	}
	return rows
}

// routeNotes explains a route: what the two sides have found out, and of each reason why a way better than the one in use is not taken, what it means and what to
// do about it.
func routeNotes(list []peer.RouteEntry) string {
	var b strings.Builder
	told, device, better := map[string]bool{}, "", true
	for i := range list {
		r := &list[i]
		if r.Device != device || i == 0 {
			device, better = r.Device, true
			fmt.Fprintf(&b, "here: %s; there: %s\n", clean(findings(r.Here)), clean(findings(r.There)))
		}
		better = better && !r.InUse
		if !better || r.Reason == "" || r.Sentence == "" || told[r.Reason] {
			continue
		}
		told[r.Reason] = true
		fmt.Fprintf(&b, "%s: %s\n", clean(r.Reason), clean(strings.TrimSpace(r.Sentence+" "+r.Remedy)))
	}
	return b.String()
}

// findings is what one side has found out about its network, for people.
func findings(n *trace.Network) string {
	if n == nil {
		return "nothing known"
	}
	var out []string
	switch n.UDP {
	case "works":
		out = append(out, "UDP passes")
	case "blocked":
		out = append(out, "UDP is blocked")
	}
	switch n.Ports {
	case "kept":
		out = append(out, "the router keeps ports")
	case "changing":
		out = append(out, "the router changes ports (symmetric NAT)")
	}
	if n.IPv4 {
		out = append(out, "IPv4")
	}
	if n.IPv6 {
		out = append(out, "IPv6")
	}
	if n.Policy != "" && n.Policy != "auto" {
		out = append(out, "policy "+n.Policy)
	}
	if len(out) == 0 {
		return "nothing known"
	}
	return strings.Join(out, ", ")
}
