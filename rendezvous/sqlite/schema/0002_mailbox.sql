-- +goose Up
-- Who sends and who receives: an account's device. Numbers are never given twice, and rows stay: there are no more of them than devices.
CREATE TABLE addresses (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	account TEXT NOT NULL,
	device  BLOB NOT NULL,
	next    INTEGER NOT NULL DEFAULT 1,  -- number of the next envelope for it, unless it holds a higher one
	UNIQUE (account, device)
) STRICT;

-- The envelopes of one device lie together and in order, without an index: most of what a mailbox costs would be indexes.
CREATE TABLE mail (
	id        INTEGER PRIMARY KEY,       -- the recipient's address, shifted left by 36 bits, and a number that rises with each envelope for it
	sender    INTEGER NOT NULL,          -- address
	kept      INTEGER NOT NULL,          -- by the mailbox's clock, in milliseconds
	submitted INTEGER NOT NULL,
	envelope  BLOB NOT NULL              -- sealed end to end
) STRICT;

-- One row: what the mailbox's clock showed at a time of the wall clock.
CREATE TABLE mailbox_clock (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	mailbox INTEGER NOT NULL,
	wall    INTEGER NOT NULL
) STRICT;

-- What was refused because the mailbox was full, until the device has been told.
CREATE TABLE refusals (
	address  INTEGER NOT NULL,
	sender   TEXT NOT NULL,              -- account; empty: any others
	messages INTEGER NOT NULL,
	since    INTEGER NOT NULL,
	mark     INTEGER NOT NULL,           -- rises with each change
	PRIMARY KEY (address, sender)
) STRICT, WITHOUT ROWID;

INSERT INTO addresses (account, device) SELECT recipient, device FROM mailbox UNION SELECT sender, sender_device FROM mailbox;
INSERT INTO mail (id, sender, kept, submitted, envelope)
	SELECT (r.id << 36) | m.id, s.id, 0, m.submitted, m.envelope FROM mailbox m
	JOIN addresses r ON r.account = m.recipient AND r.device = m.device
	JOIN addresses s ON s.account = m.sender AND s.device = m.sender_device;
DROP TABLE mailbox;
ALTER TABLE mail RENAME TO mailbox;
