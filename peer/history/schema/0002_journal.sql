-- +goose Up
-- journal: what of the file NAME.journal stands in the other tables.
CREATE TABLE journal (
	id      INTEGER PRIMARY KEY CHECK (id = 1),
	applied INTEGER NOT NULL      -- number of the last record
);
