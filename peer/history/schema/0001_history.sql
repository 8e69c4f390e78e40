-- +goose Up
-- Names, bodies, keys and session states are sealed; what stands in the open are numbers, states, times and fingerprints.
CREATE TABLE contacts (
	tag    BLOB PRIMARY KEY,      -- keyed hash of the name
	sealed BLOB NOT NULL          -- name, pins, directory entry, bundles
) WITHOUT ROWID;

CREATE TABLE accounts (
	tag    BLOB PRIMARY KEY,
	name   BLOB NOT NULL,         -- sealed
	next   INTEGER NOT NULL,      -- number of the next message to this account
	tip    BLOB NOT NULL,         -- link of the message before it
	seen   INTEGER NOT NULL       -- a person there has seen our messages up to this number
) WITHOUT ROWID;

CREATE TABLE devices (
	device BLOB PRIMARY KEY,      -- fingerprint
	start  INTEGER NOT NULL,      -- number at which we began to write to it, 0: never
	next   INTEGER NOT NULL,      -- number expected from it, 0: nothing has come
	tip    BLOB NOT NULL,         -- link of the number before it
	high   INTEGER NOT NULL       -- highest of its numbers in the visible history
) WITHOUT ROWID;

-- runs: the visible history and the outbox. A row is up to 64 messages that one device has sent to one conversation and that were
-- committed one after the other, so that a burst of messages costs one row, one seal and one entry in each index.
CREATE TABLE runs (
	ord     INTEGER PRIMARY KEY,  -- place of its first message in the history, the others follow; negative: a copy for our own devices, not shown
	count   INTEGER NOT NULL,
	tag     BLOB NOT NULL,        -- the conversation
	device  BLOB NOT NULL,        -- the sending device; 32 zero bytes: this one
	first   INTEGER NOT NULL,     -- lowest number
	last    INTEGER NOT NULL,     -- highest number
	unshown INTEGER NOT NULL,     -- one bit for each message that no face has shown
	open    INTEGER NOT NULL,     -- how many of them are in the outbox
	states  BLOB NOT NULL,        -- our own: how far each has come
	sealed  BLOB NOT NULL
);
CREATE INDEX runs_by_tag ON runs (tag, ord);
CREATE INDEX runs_by_device ON runs (device, last);  -- also tells which numbers a run held whose own page is lost
CREATE INDEX runs_unshown ON runs (ord) WHERE unshown <> 0;
CREATE INDEX runs_open ON runs (ord) WHERE open > 0;

-- held: arrived, but an earlier number of the device is missing.
CREATE TABLE held (
	device BLOB NOT NULL,
	n      INTEGER NOT NULL,
	sealed BLOB NOT NULL,
	PRIMARY KEY (device, n)
) WITHOUT ROWID;

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
