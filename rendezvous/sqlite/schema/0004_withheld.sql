-- +goose Up
-- From which accounts a device withholds its peer record; nobody need have the name.
CREATE TABLE withheld (
	device  BLOB NOT NULL REFERENCES devices (fingerprint) ON DELETE CASCADE,
	account TEXT NOT NULL,
	PRIMARY KEY (device, account)
) STRICT, WITHOUT ROWID;
