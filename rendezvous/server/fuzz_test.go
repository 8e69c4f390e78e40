package server

import (
	"testing"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// FuzzStream sends bytes of a stranger after a right Hello. Whatever they are, the server must answer or end the stream, and serve
// the next one.
func FuzzStream(f *testing.F) {
	seeds := []*rendezvous.Frame{
		{Id: 2, Body: &rendezvous.Frame_Resume{Resume: &rendezvous.Resume{Username: "alice"}}},
		{Id: 3, Body: &rendezvous.Frame_Register{Register: &rendezvous.Register{Username: "\u202e", Entry: []byte{1}, Bundle: []byte{2}}}},
		{Id: 4, Body: &rendezvous.Frame_Login{Login: &rendezvous.Login{Username: "a", Password: "b"}}},
		{Id: 5, Body: &rendezvous.Frame_Enrol{Enrol: &rendezvous.Enrol{Entry: make([]byte, 100)}}},
		{Id: 6, Body: &rendezvous.Frame_Submit{Submit: &rendezvous.Submit{Device: []byte{1}}}},
		{Id: 7, Body: &rendezvous.Frame_Watch{Watch: &rendezvous.Watch{On: true}}},
		{Id: 8, Body: &rendezvous.Frame_Publish{Publish: &rendezvous.Publish{Withheld: &rendezvous.Withheld{Usernames: []string{"\u202e", "bob"}}}}},
		{Body: &rendezvous.Frame_Taken{Taken: &rendezvous.Taken{Deliveries: []*rendezvous.Run{{}, {First: 1 << 63}}, Refusals: 7}}},
	}
	for _, s := range seeds {
		buf, err := rendezvous.AppendFrame(nil, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(buf)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x05, 0x08})
	w := start(f, Config{}, false)
	d := w.device("eve", 0)
	f.Fuzz(func(t *testing.T, garbage []byte) {
		r := d.raw(t)
		r.send(hello())
		r.read()
		if _, err := r.s.Write(garbage); err != nil {
			return
		}
		_ = r.s.CloseWrite()
		_ = r.s.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			if _, err := r.r.NextFrame(); err != nil {
				break
			}
		}
	})
}
