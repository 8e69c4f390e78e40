package directory

import (
	"context"
	"slices"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

// newlyWithheld returns from whom a device now withholds its peer record, or nil where nothing is given or nothing changes.
func (s *Service) newlyWithheld(ctx context.Context, device identity.Fingerprint, w *rendezvous.Withheld) (*[]rendezvous.Username, error) {
	if w == nil {
		return nil, nil
	}
	names, err := parseWithheld(w.GetUsernames())
	if err != nil {
		return nil, err
	}
	held, err := s.store.Withheld(ctx, device)
	if err != nil || slices.Equal(names, held) {
		return nil, err
	}
	return &names, nil
}

// parseWithheld checks a list of names and returns each once, in byte order. Their number is checked before anything is done with them. Nothing
// says whether somebody has a name.
func parseWithheld(texts []string) ([]rendezvous.Username, error) {
	if len(texts) > rendezvous.MaxWithheld {
		return nil, rendezvous.Errorf(rendezvous.CodeTooLarge, "addresses can be withheld from at most %d accounts", rendezvous.MaxWithheld)
	}
	names := make([]rendezvous.Username, len(texts))
	for i, text := range texts {
		name, err := rendezvous.ParseUsername(text)
		if err != nil || string(name) != text {
			return nil, badRequest("a name to withhold addresses from is not a user name in canonical form")
		}
		names[i] = name
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
