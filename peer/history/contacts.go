package history

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// Trust is what the person has decided about a device of a contact.
type Trust string

// The levels of trust.
const (
	Accepted Trust = "accepted" // pinned at first contact, or accepted since
	Pending  Trust = "pending"  // came later and waits for the person
	Gone     Trust = "gone"     // not on the account any more
)

// Contact is what this home has pinned and remembers of one account, its own included. Byte fields are as they were signed.
type Contact struct {
	Name     delivery.Account `json:"name"`
	Entry    []byte           `json:"entry"`
	Devices  []*Device        `json:"devices"`
	Verified bool             `json:"verified"` // the safety number was compared
	// Changed is set while the directory lists none of the devices that are accepted: nothing new is written to the account then.
	Changed bool `json:"changed,omitempty"`
	// Shown are the devices under the safety number that the person was shown last.
	Shown []delivery.Device `json:"shown,omitempty"`
	// Policy is what the person has set for the account, by name; empty: what holds for all.
	Policy string `json:"policy,omitempty"`
	// PolicySet rises with each change of Policy.
	PolicySet uint64    `json:"policy_set,omitempty"`
	FirstSeen time.Time `json:"first_seen"`
	Active    time.Time `json:"active"` // latest message either way
	// Direct is when there was the latest message either way for which a direct way is looked for.
	Direct time.Time `json:"direct,omitzero"`
	// Unmet is set while none of its messages has been taken in yet.
	Unmet bool `json:"unmet,omitempty"`
	// First is the first message that was taken in from it; empty where there is none, or it is from before this was noted.
	First string `json:"first,omitempty"`
}

// Lost reports whether the record was lost with a part of the file: its name is known, and neither whom it was pinned to nor which policy was set for it.
func (c *Contact) Lost() bool { return slices.ContainsFunc(c.Devices, isMark) }

// Found takes the mark away by which Lost knows.
func (c *Contact) Found() { c.Devices = slices.DeleteFunc(c.Devices, isMark) }

// isMark reports whether a device is the one that a rescue puts in the place of those that it has not found.
func isMark(d *Device) bool { return d.Fingerprint == delivery.Device{} }

// Device is a pinned device of a contact.
type Device struct {
	Fingerprint delivery.Device `json:"fingerprint"`
	SPKI        []byte          `json:"spki"`
	PeerID      string          `json:"peer_id"`
	Trust       Trust           `json:"trust"`
	Bundle      []byte          `json:"bundle,omitempty"`
	Addrs       []string        `json:"addrs,omitempty"`   // of its signed peer record
	Reached     []string        `json:"reached,omitempty"` // where it has answered, the latest first
	// Said is the newest that the device has said of its owner's policy. Of it Heard is how much of ours it has heard.
	Said      delivery.Terms `json:"said,omitzero"`
	FirstSeen time.Time      `json:"first_seen"`
}

func (w *writer) contact(c *Contact) error {
	sealed, err := w.s.box.sealJSON(fmt.Sprintf("contact %x", w.s.tag(string(c.Name))), c)
	if err != nil {
		return err
	}
	w.contacts[c.Name] = sealed
	return nil
}

// Contacts returns all contacts.
func (s *Store) Contacts(ctx context.Context) ([]*Contact, error) {
	var out []*Contact
	err := s.view(ctx, func(q querier) error {
		out = nil
		return each(ctx, q, "SELECT tag, sealed FROM contacts WHERE length(tag) = 16", func(rows *sql.Rows) error {
			var tag, sealed []byte
			if err := rows.Scan(&tag, &sealed); err != nil {
				return err
			}
			c := new(Contact)
			out = append(out, c)
			return s.box.openJSON(fmt.Sprintf("contact %x", tag), sealed, c)
		})
	})
	return out, classify("read contacts", err)
}
