package identity_test

import (
	"regexp"
	"testing"

	"github.com/byway-chat/byway/crypto/identity"
)

func fp(b byte) identity.Fingerprint { return identity.Fingerprint{0: b, 31: b} }

func TestSafetyNumber(t *testing.T) {
	alice := identity.Party{Name: "alice", Keys: []identity.Fingerprint{fp(1), fp(2)}}
	bob := identity.Party{Name: "bob", Keys: []identity.Fingerprint{fp(3)}}
	number := identity.SafetyNumber(alice, bob)
	if !regexp.MustCompile(`^(\d{5} ){11}\d{5}$`).MatchString(number) {
		t.Errorf("%q is not twelve groups of five digits", number)
	}
	// Frozen: people have it on paper.
	if want := "06216 06489 99518 81096 04127 39604 35144 73713 89273 21890 69389 71126"; number != want {
		t.Errorf("got %s, want %s", number, want)
	}
	same := map[string]string{
		"other way round": identity.SafetyNumber(bob, alice),
		"other key order": identity.SafetyNumber(identity.Party{Name: "alice", Keys: []identity.Fingerprint{fp(2), fp(1)}}, bob),
	}
	for name, got := range same {
		if got != number {
			t.Errorf("%s: got %s, want %s", name, got, number)
		}
	}
	other := map[string]identity.Party{
		"other name":     {Name: "alicia", Keys: alice.Keys},
		"other key":      {Name: "alice", Keys: []identity.Fingerprint{fp(1), fp(4)}},
		"device less":    {Name: "alice", Keys: alice.Keys[:1]},
		"device more":    {Name: "alice", Keys: []identity.Fingerprint{fp(1), fp(2), fp(5)}},
		"device doubled": {Name: "alice", Keys: []identity.Fingerprint{fp(1), fp(2), fp(2)}},
	}
	for name, party := range other {
		if identity.SafetyNumber(party, bob) == number {
			t.Errorf("%s: the number is the same", name)
		}
	}
	if alice.Keys[0] != fp(1) {
		t.Error("the caller's keys were reordered")
	}
}
