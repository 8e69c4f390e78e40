-- +goose Up
-- Names, bodies, keys and session states are sealed; what stands in the open are numbers, states, times and fingerprints.
CREATE TABLE contacts (
	tag    BLOB PRIMARY KEY,      -- keyed hash of the name
	sealed BLOB NOT NULL          -- name, pins, directory entry, bundles
) WITHOUT ROWID;

CREATE TABLE accounts (
	tag    BLOB PRIMARY KEY,
	name   BLOB NOT NULL,         -- sealed
	next   INTEGER NOT NULL       -- number of the next message to this account
) WITHOUT ROWID;

CREATE TABLE devices (
	device BLOB PRIMARY KEY,      -- fingerprint
	tag    BLOB NOT NULL,
	start  INTEGER NOT NULL,      -- number at which we began to write to it, 0: never
	next   INTEGER NOT NULL       -- number expected from it, 0: nothing has come
) WITHOUT ROWID;

CREATE TABLE outbox (
	tag    BLOB NOT NULL,
	n      INTEGER NOT NULL,
	sealed BLOB NOT NULL,         -- the message with its devices
	PRIMARY KEY (tag, n)
) WITHOUT ROWID;

CREATE TABLE copies (
	tag    BLOB NOT NULL,
	n      INTEGER NOT NULL,
	device BLOB NOT NULL,
	phase  INTEGER NOT NULL,
	PRIMARY KEY (tag, n, device)
) WITHOUT ROWID;

-- held: arrived, but an earlier number of the device is missing.
CREATE TABLE held (
	device BLOB NOT NULL,
	n      INTEGER NOT NULL,
	sealed BLOB NOT NULL,
	PRIMARY KEY (device, n)
) WITHOUT ROWID;

CREATE TABLE messages (
	ord    INTEGER PRIMARY KEY AUTOINCREMENT,
	tag    BLOB NOT NULL,         -- the conversation
	device BLOB NOT NULL,         -- the sending device
	n      INTEGER NOT NULL,
	own    INTEGER NOT NULL,      -- 1: sent by this device
	shown  INTEGER NOT NULL,      -- 1: a face has shown it, or it is our own
	id     BLOB NOT NULL,
	stage  INTEGER NOT NULL DEFAULT 0,
	way    TEXT NOT NULL DEFAULT '',
	took   INTEGER NOT NULL DEFAULT 0,   -- microseconds
	reason TEXT NOT NULL DEFAULT '',
	seen   INTEGER NOT NULL DEFAULT 0,   -- 1: the recipient has read it
	sealed BLOB NOT NULL,
	UNIQUE (device, tag, n)
);
CREATE INDEX messages_by_id ON messages (id);
CREATE INDEX messages_by_tag ON messages (tag, ord);
CREATE INDEX messages_unshown ON messages (ord) WHERE shown = 0;

CREATE TABLE gaps (
	device BLOB NOT NULL,
	first  INTEGER NOT NULL,
	last   INTEGER NOT NULL,
	after  INTEGER NOT NULL,      -- ord of the message before the gap
	PRIMARY KEY (device, first)
) WITHOUT ROWID;

CREATE TABLE sessions (
	sid    BLOB PRIMARY KEY,
	device BLOB NOT NULL,
	used   INTEGER NOT NULL,      -- Unix milliseconds
	sealed BLOB                   -- receiving chain; NULL: closed, remembered so that its opening cannot be replayed
) WITHOUT ROWID;
CREATE INDEX sessions_by_device ON sessions (device, used);

-- blocked: envelopes from devices whose keys the person has not accepted.
CREATE TABLE blocked (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	device BLOB NOT NULL,
	tag    BLOB NOT NULL,
	way    TEXT NOT NULL,
	envelope BLOB NOT NULL
);
CREATE INDEX blocked_by_device ON blocked (device, id);

