package directory

import (
	"context"
	"errors"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// Lookup returns a record for each name in their order, with what the account that asks may see of it; a name that is not one is unknown. It alone gives
// peer records away. Codes: bad-request (over MaxLookup).
func (s *Service) Lookup(ctx context.Context, who *SignedIn, r *rendezvous.Lookup) (*rendezvous.Found, error) {
	names := r.GetUsernames()
	if len(names) > rendezvous.MaxLookup {
		return nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "at most %d names can be looked up at once", rendezvous.MaxLookup)
	}
	found := &rendezvous.Found{Records: make([]*rendezvous.Record, len(names))}
	for i, typed := range names {
		var err error
		if found.Records[i], err = s.record(ctx, who.User, typed); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (s *Service) record(ctx context.Context, asks rendezvous.Username, typed string) (*rendezvous.Record, error) {
	name, err := rendezvous.ParseUsername(typed)
	if err != nil {
		return &rendezvous.Record{Username: typed, Unknown: true}, nil
	}
	a, err := s.store.Shown(ctx, name, asks)
	if errors.Is(err, ErrNotFound) {
		return &rendezvous.Record{Username: string(name), Unknown: true}, nil
	} else if err != nil {
		return nil, err
	}
	r := &rendezvous.Record{Username: string(name), Entry: a.Entry}
	for _, d := range a.Devices {
		r.Devices = append(r.Devices, &rendezvous.DeviceRecord{
			Fingerprint: d.Fingerprint[:],
			Bundle:      d.Bundle,
			PeerRecord:  d.PeerRecord,
			Online:      s.o.Presence.DeviceOnline(d.Fingerprint),
		})
	}
	return r, nil
}

// List returns a page of the names that may sign in, in byte order, after the one given.
func (s *Service) List(ctx context.Context, r *rendezvous.List) (*rendezvous.Listed, error) {
	limit := int(min(r.GetLimit(), rendezvous.MaxList))
	if limit == 0 {
		limit = rendezvous.MaxList
	}
	names, err := s.store.Names(ctx, rendezvous.Username(r.GetAfter()), limit+1)
	if err != nil {
		return nil, err
	}
	listed := &rendezvous.Listed{More: len(names) > limit}
	for _, name := range names[:min(limit, len(names))] {
		listed.Users = append(listed.Users, &rendezvous.Listing{Username: string(name), Online: s.o.Presence.Online(name)})
	}
	return listed, nil
}

// Owner returns the account of a device, for the relay. Code: no-such-device.
func (s *Service) Owner(ctx context.Context, device identity.Fingerprint) (rendezvous.Username, error) {
	if name, ok := s.owners.Get(device); ok {
		return name, nil
	}
	name, err := s.store.Owner(ctx, device)
	if errors.Is(err, ErrNotFound) {
		return "", rendezvous.Errorf(rendezvous.CodeNoSuchDevice, "no account has this device")
	} else if err != nil {
		return "", err
	}
	s.owners.Add(device, name)
	return name, nil
}
