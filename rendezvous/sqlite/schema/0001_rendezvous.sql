-- +goose Up
-- "Bywy": tells this program's files from those of others.
PRAGMA application_id = 0x42797779;

-- Times are Unix milliseconds, 0 for none.
CREATE TABLE accounts (
	name       TEXT PRIMARY KEY,
	skeleton   TEXT NOT NULL UNIQUE,   -- what the name looks like
	created    INTEGER NOT NULL,
	password   TEXT NOT NULL,          -- PHC string
	entry      BLOB NOT NULL,          -- signed directory entry, byte-exact
	seq        INTEGER NOT NULL,       -- of entry
	banned     INTEGER,                -- since; NULL: not banned
	ban_reason TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE devices (
	fingerprint BLOB PRIMARY KEY,      -- 32 bytes
	account     TEXT NOT NULL REFERENCES accounts (name),
	peer_id     BLOB NOT NULL UNIQUE,
	added       INTEGER NOT NULL,
	last_seen   INTEGER NOT NULL,
	bundle      BLOB NOT NULL,         -- signed prekey bundle, byte-exact
	bundle_seq  INTEGER NOT NULL,
	peer_record BLOB                   -- signed libp2p peer record; NULL: publishes no address
) STRICT;
CREATE INDEX devices_account ON devices (account);

CREATE TABLE invites (
	id      BLOB PRIMARY KEY,          -- SHA-256 of the token
	created INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	uses    INTEGER NOT NULL,
	left    INTEGER NOT NULL,
	note    TEXT NOT NULL
) STRICT;

CREATE TABLE mailbox (
	id            INTEGER PRIMARY KEY, -- rises; numbered by the program
	recipient     TEXT NOT NULL,
	device        BLOB NOT NULL,
	sender        TEXT NOT NULL,
	sender_device BLOB NOT NULL,
	submitted     INTEGER NOT NULL,
	size          INTEGER NOT NULL,    -- of envelope
	envelope      BLOB NOT NULL        -- sealed end to end
) STRICT;
-- Pages of one device in order, and what is held for a device or an account, without touching the envelopes.
CREATE INDEX mailbox_device ON mailbox (recipient, device, id, size);
CREATE INDEX mailbox_submitted ON mailbox (submitted);
