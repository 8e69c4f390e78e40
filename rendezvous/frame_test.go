package rendezvous

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestFrameGolden(t *testing.T) {
	f := &Frame{Id: 7, Body: &Frame_Lookup{Lookup: &Lookup{Usernames: []string{"bob"}}}}
	b, err := AppendFrame(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b), "0a"+"0807"+"fa0105"+"0a03626f62"; got != want { // length, id, lookup, name
		t.Errorf("the frame is %s, want %s", got, want)
	}
}

func TestAppendFrameRefusesWhatIsTooLarge(t *testing.T) {
	before := []byte("kept")
	b, err := AppendFrame(before, &Frame{Body: &Frame_Submit{Submit: &Submit{Envelope: make([]byte, MaxFrame)}}})
	if !errors.Is(err, ErrFrameTooLarge) || string(b) != "kept" {
		t.Errorf("got %d bytes and %v", len(b), err)
	}
}

func TestFailures(t *testing.T) {
	busy := &Error{Code: CodeBusy, Message: "too many at once", RetryAfter: 1500 * time.Millisecond}
	back := FailureOf(fmt.Errorf("log in: %w", busy)).Err()
	if e, ok := errors.AsType[*Error](back); !ok || *e != *busy {
		t.Errorf("came back as %#v", back)
	}
	secret := FailureOf(errors.New("open /secret/path: permission denied"))
	if secret.GetCode() != string(CodeInternal) || strings.Contains(secret.GetMessage(), "secret") {
		t.Errorf("an internal error crosses the wire as %v", secret)
	}
	if e, ok := errors.AsType[*Error]((&Failure{Code: "busy", RetryAfterMs: 1 << 63}).Err()); !ok || e.RetryAfter != time.Hour {
		t.Errorf("a hostile retry time gives %v", e.RetryAfter)
	}
	if got := CodeOf(io.EOF); got != CodeInternal {
		t.Errorf("the code of a foreign error is %s", got)
	}
	if got := (&Error{Code: CodeBanned}).Error(); got != "banned" {
		t.Errorf("an error without a message says %q", got)
	}
}
