-- Links that travel by mail. What opens one is derived from its id and is not here.
-- A decoy was never mailed. What a sign-up began with goes when the link is spent.
CREATE TABLE link (
	id         keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	kind       TEXT NOT NULL CHECK (kind IN ('sign_up', 'verify', 'reset', 'email', 'invite')),
	account_id keytext REFERENCES account (id) ON DELETE CASCADE,
	email      TEXT NOT NULL,
	email_key  keytext NOT NULL,
	browser    BYTEA CHECK (browser IS NULL OR length(browser) = 32),
	name       TEXT NOT NULL,
	password   TEXT NOT NULL,
	roles      TEXT NOT NULL,
	decoy      BOOLEAN NOT NULL CHECK (decoy IN (TRUE, FALSE)),
	guesses    BIGINT NOT NULL DEFAULT 0 CHECK (guesses >= 0),
	created_at BIGINT NOT NULL CHECK (created_at >= 0),
	expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
	spent_at   BIGINT CHECK (spent_at >= 0)
);
CREATE INDEX link_account ON link (account_id);
CREATE INDEX link_email ON link (email_key);
CREATE INDEX link_expires ON link (expires_at);
