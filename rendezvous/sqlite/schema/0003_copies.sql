-- +goose Up
-- Every account once more, on other pages of the file: what a page of the one table has lost when the disk fails, a rescue takes from the other.
CREATE TABLE account_copies (
	name       TEXT PRIMARY KEY,
	skeleton   TEXT NOT NULL,
	created    INTEGER NOT NULL,
	password   TEXT NOT NULL,
	entry      BLOB NOT NULL,
	seq        INTEGER NOT NULL,
	banned     INTEGER,
	ban_reason TEXT NOT NULL
) STRICT;

INSERT INTO account_copies (name, skeleton, created, password, entry, seq, banned, ban_reason)
	SELECT name, skeleton, created, password, entry, seq, banned, ban_reason FROM accounts;

-- +goose StatementBegin
CREATE TRIGGER accounts_made AFTER INSERT ON accounts BEGIN
	INSERT OR REPLACE INTO account_copies (name, skeleton, created, password, entry, seq, banned, ban_reason)
		VALUES (new.name, new.skeleton, new.created, new.password, new.entry, new.seq, new.banned, new.ban_reason);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER accounts_changed AFTER UPDATE ON accounts BEGIN
	UPDATE account_copies SET created = new.created, password = new.password, entry = new.entry, seq = new.seq, banned = new.banned,
		ban_reason = new.ban_reason WHERE name = new.name;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER accounts_removed AFTER DELETE ON accounts BEGIN
	DELETE FROM account_copies WHERE name = old.name;
END;
-- +goose StatementEnd
