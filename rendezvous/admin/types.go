package admin

import "time"

// User is one account as its operator sees it: everything about it that the rendezvous knows, except the password hash.
type User struct {
	V        int        `json:"v" doc:"Version of this object, 1."`
	Name     string     `json:"name"`
	Online   bool       `json:"online"`
	Created  time.Time  `json:"created"`
	LastSeen *time.Time `json:"last_seen" doc:"Of the device seen last; null is never."`
	Devices  []Device   `json:"devices"`
	Mailbox  Traffic    `json:"mailbox" doc:"Envelopes that wait for the account's devices."`
	Password string     `json:"password" doc:"How the password is hashed, as argon2id m=65536,t=3,p=4; never the hash."`
	Banned   *Ban       `json:"banned,omitempty"`
}

// Ban is why an account may not sign in.
type Ban struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason" doc:"The operator's words; the user sees them."`
}

// Device is one device of a User.
type Device struct {
	ID          string     `json:"id" doc:"The first 16 digits of the fingerprint."`
	Fingerprint string     `json:"fingerprint" doc:"SHA-256 of the identity key, 64 hexadecimal digits."`
	PeerID      string     `json:"peer_id"`
	Added       time.Time  `json:"added"`
	LastSeen    *time.Time `json:"last_seen" doc:"Null is never."`
	Online      bool       `json:"online"`
}

// Traffic is a number of envelopes and the sum of their sizes.
type Traffic struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

// Active is one signed-in connection.
type Active struct {
	V         int       `json:"v"`
	Name      string    `json:"name"`
	Device    string    `json:"device"`
	PeerID    string    `json:"peer_id"`
	Since     time.Time `json:"since"`
	Transport string    `json:"transport" enum:"tcp,quic,other"`
	Address   string    `json:"address" doc:"The multiaddr that the connection comes from."`
	Agent     string    `json:"agent" doc:"What the peer calls itself; printable ASCII."`
}

// Status is the state of the whole rendezvous. Counters start with the process.
type Status struct {
	V            int               `json:"v"`
	Version      string            `json:"version"`
	PeerID       string            `json:"peer_id"`
	Started      time.Time         `json:"started"`
	UptimeMS     float64           `json:"uptime_ms"`
	Registration string            `json:"registration" enum:"open,invite,closed"`
	MaxPeers     int               `json:"max_peers"`
	Users        int               `json:"users" doc:"Registered accounts."`
	Online       int               `json:"online" doc:"Accounts with a connected device."`
	Connections  int               `json:"connections" doc:"Signed-in connections."`
	Relayed      Traffic           `json:"relayed" doc:"Taken live, through memory alone."`
	Stored       Traffic           `json:"stored" doc:"Put into the mailbox."`
	Delivered    Traffic           `json:"delivered" doc:"Taken out of the mailbox by their devices."`
	Expired      uint64            `json:"expired" doc:"Envelopes whose lifetime ended in the mailbox."`
	Refused      map[string]uint64 `json:"refused" doc:"Refused envelopes by code."`
	Health       string            `json:"health" doc:"ok, or what is wrong."`
	Damaged      []string          `json:"damaged,omitempty" doc:"Damaged databases that were kept aside; each stays until somebody removes it."`
	Damage       string            `json:"damage,omitempty" doc:"What this start has found to be damaged, and what was lost by it."`
}

// Envelope is one sealed envelope as it passed. Nobody here can open it.
type Envelope struct {
	V          int       `json:"v"`
	Time       time.Time `json:"time"`
	From       string    `json:"from"`
	FromDevice string    `json:"from_device"`
	To         string    `json:"to"`
	ToDevice   string    `json:"to_device"`
	Size       int       `json:"size" doc:"Bytes of ciphertext."`
	Delivery   string    `json:"delivery" enum:"live,stored"`
	Kind       string    `json:"kind" enum:"init,msg,unknown" doc:"Opens a session, or belongs to one."`
	Bytes      []byte    `json:"bytes,omitempty" doc:"The ciphertext itself, base64, where asked for."`
	Dropped    uint64    `json:"dropped,omitempty" doc:"How many envelopes this watcher was too slow for so far."`
}

// Address is where the rendezvous can be reached.
type Address struct {
	V      int      `json:"v"`
	PeerID string   `json:"peer_id"`
	Addrs  []string `json:"addrs" doc:"Full multiaddrs, those for other machines first."`
	Link   string   `json:"link" doc:"byway:// link to the first of them."`
}

// Invite is an invitation to register.
type Invite struct {
	V       int        `json:"v"`
	Link    string     `json:"link" doc:"byway:// link with the token in it."`
	Token   string     `json:"token" doc:"A secret until it is used; the rendezvous keeps only its hash."`
	Uses    int        `json:"uses"`
	Expires *time.Time `json:"expires,omitempty"`
}
