package peer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/framing"
)

// answerRegister is a rendezvous that answers each Register as it is told to, and then ends the stream.
func answerRegister(t *testing.T, answer *rendezvous.Frame) (address string) {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	write := func(s network.Stream, f *rendezvous.Frame) {
		b, err := rendezvous.AppendFrame(nil, f)
		if err != nil {
			t.Errorf("encode: %v", err)
		}
		_, _ = s.Write(b)
	}
	h.SetStreamHandler(rendezvous.ProtocolID, func(s network.Stream) {
		defer s.Close()
		r := framing.NewReader(s)
		for {
			f, err := r.NextFrame()
			switch {
			case err != nil:
				return
			case f.GetHello() != nil:
				write(s, &rendezvous.Frame{Id: f.GetId(), Body: &rendezvous.Frame_Welcome{Welcome: &rendezvous.Welcome{
					Version: 1, Nonce: make([]byte, 32), Registration: "open",
				}}})
			case f.GetRegister() != nil:
				if answer.GetGoodbye() == nil {
					answer.Id = f.GetId()
				}
				write(s, answer)
				return
			}
		}
	})
	return h.Addrs()[0].String() + "/p2p/" + h.ID().String()
}

// TestKeysOutliveDoubt: the keys of a first sign-in are removed only when the rendezvous has said no.
func TestKeysOutliveDoubt(t *testing.T) {
	failure := func(code rendezvous.Code) *rendezvous.Frame {
		return &rendezvous.Frame{Body: &rendezvous.Frame_Failure{Failure: &rendezvous.Failure{Code: string(code)}}}
	}
	goodbye := func(code rendezvous.Code) *rendezvous.Frame {
		return &rendezvous.Frame{Body: &rendezvous.Frame_Goodbye{Goodbye: &rendezvous.Goodbye{Code: string(code)}}}
	}
	for _, row := range []struct {
		name   string
		answer *rendezvous.Frame
		kept   bool
	}{
		{"name-taken", failure(rendezvous.CodeNameTaken), false},
		{"banned", failure(rendezvous.CodeBanned), false},
		{"internal", failure(rendezvous.CodeInternal), true},
		{"a code of a newer version", failure("moved"), true},
		{"goodbye draining", goodbye(rendezvous.CodeDraining), true},
		{"goodbye banned", goodbye(rendezvous.CodeBanned), true},
		{"unexpected answer", &rendezvous.Frame{Body: &rendezvous.Frame_Listed{Listed: new(rendezvous.Listed)}}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			home := t.TempDir()
			p, err := New(Config{
				Home: home, User: "alice", Rendezvous: answerRegister(t, row.answer), NoMDNS: true, NoPassphrase: true, SignIn: SignInRegister,
				Listen: []string{"/ip4/127.0.0.1/tcp/0"},
				Password: func(context.Context, PasswordUse, string) ([]byte, error) {
					return []byte("correct horse battery"), nil
				},
				NewKeys: func(time.Time) (*identity.Keyring, error) { return identitytest.Keyring(0), nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Up(t.Context()); err == nil {
				t.Error("it is signed in")
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			_, err = os.Stat(filepath.Join(home, keyFileName))
			f, fileErr := readHomeFile(home)
			if row.kept && (err != nil || fileErr != nil || !f.Pending) {
				t.Errorf("got %v and %+v, want the keys kept and the sign-in pending", err, f)
			}
			if !row.kept && (!errors.Is(err, fs.ErrNotExist) || !errors.Is(fileErr, fs.ErrNotExist)) {
				t.Errorf("got %v and %v, want an empty home", err, fileErr)
			}
		})
	}
}
