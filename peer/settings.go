package peer

import "context"

// SetReadReceipts says whether contacts may learn what the person has read. It is remembered in the home; a new home tells them.
func (p *Peer) SetReadReceipts(_ context.Context, on bool) error {
	if err := p.up(); err != nil {
		return err
	}
	p.settings.Lock()
	defer p.settings.Unlock()
	f, err := p.home.file()
	if err != nil {
		return err
	}
	if f.NoReadReceipts == on {
		f.NoReadReceipts = !on
		if err := p.home.save(f); err != nil {
			return err
		}
	}
	p.secretReader.Store(!on)
	return nil
}

// remembered takes the home's settings into use.
func (p *Peer) remembered() error {
	f, err := p.home.file()
	if err != nil {
		return err
	}
	p.secretReader.Store(f.NoReadReceipts)
	p.standing = standing{policy: storedPolicy(f.Way), set: f.WaySet}
	return nil
}
