-- Times are milliseconds since 1970, but for what ends in _s, over_before,
-- changed_before and auth_time: seconds. Lists are lines of text.

CREATE TABLE issuer (
	id          BIGINT PRIMARY KEY CHECK (id = 1),
	over_before BIGINT NOT NULL DEFAULT 0 CHECK (over_before >= 0),
	seal        BYTEA CHECK (seal IS NULL OR length(seal) = 32)
);
INSERT INTO issuer (id) VALUES (1);

CREATE TABLE setup (
	id         BIGINT PRIMARY KEY CHECK (id = 1),
	link       BYTEA NOT NULL CHECK (length(link) = 32),
	expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
	spent      BOOLEAN NOT NULL DEFAULT FALSE CHECK (spent IN (TRUE, FALSE))
);

CREATE TABLE account (
	id             keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	email          TEXT NOT NULL,
	email_key      keytext NOT NULL CONSTRAINT account_email_key UNIQUE,
	email_verified BOOLEAN NOT NULL CHECK (email_verified IN (TRUE, FALSE)),
	name           TEXT NOT NULL,
	roles          TEXT NOT NULL,
	password       TEXT NOT NULL,
	password_version BIGINT NOT NULL DEFAULT 0 CHECK (password_version >= 0),
	disabled       BOOLEAN NOT NULL CHECK (disabled IN (TRUE, FALSE)),
	created_at     BIGINT NOT NULL CHECK (created_at >= 0),
	over_before    BIGINT NOT NULL DEFAULT 0 CHECK (over_before >= 0),
	changed_before BIGINT NOT NULL DEFAULT 0 CHECK (changed_before >= 0)
);

CREATE TABLE client (
	id          keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	first_party BOOLEAN NOT NULL CHECK (first_party IN (TRUE, FALSE)),
	pairwise    BOOLEAN NOT NULL CHECK (pairwise IN (TRUE, FALSE)),
	audiences   TEXT NOT NULL,
	scopes      TEXT NOT NULL,
	access_ms   BIGINT NOT NULL CHECK (access_ms > 0),
	disabled    BOOLEAN NOT NULL CHECK (disabled IN (TRUE, FALSE)),
	over_before BIGINT NOT NULL DEFAULT 0 CHECK (over_before >= 0)
);

-- closed says that the user was ended: what the user's over_before says as well,
-- but in the row that a step about the session holds.
-- sweep_at is never later than when the session was over, and may be much
-- earlier: the sweeper moves it on, so that being seen costs no index entry.
CREATE TABLE session (
	id             keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	account_id     keytext NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	secret_hash    BYTEA NOT NULL CHECK (length(secret_hash) = 32),
	created_at     BIGINT NOT NULL CHECK (created_at >= 0),
	last_seen_at   BIGINT NOT NULL CHECK (last_seen_at >= 0),
	idle_ms        BIGINT NOT NULL CHECK (idle_ms > 0),
	expires_at     BIGINT NOT NULL CHECK (expires_at >= 0),
	auth_time      BIGINT NOT NULL CHECK (auth_time >= 0),
	amr            TEXT NOT NULL,
	acr            TEXT NOT NULL,
	ip             TEXT NOT NULL,
	user_agent     TEXT NOT NULL,
	device         TEXT NOT NULL,
	remember       BOOLEAN NOT NULL CHECK (remember IN (TRUE, FALSE)),
	changed_before BIGINT NOT NULL DEFAULT 0 CHECK (changed_before >= 0),
	ended_at       BIGINT CHECK (ended_at >= 0),
	end_reason     TEXT NOT NULL DEFAULT '',
	closed         BOOLEAN NOT NULL DEFAULT FALSE CHECK (closed IN (TRUE, FALSE)),
	sweep_at       BIGINT NOT NULL CHECK (sweep_at >= 0)
);
CREATE INDEX session_account ON session (account_id, id);
CREATE INDEX session_sweep ON session (sweep_at);
CREATE INDEX session_created ON session (created_at);

-- rotations holds up to eight times the SHA-256 of an Idempotency-Key and eight
-- bytes of time, newest first; the time of the newest is rotated_at.
CREATE TABLE session_grant (
	id           keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	session_id   keytext NOT NULL REFERENCES session (id) ON DELETE CASCADE,
	client_id    keytext NOT NULL REFERENCES client (id),
	audience     TEXT NOT NULL,
	scope        TEXT NOT NULL,
	generation   BIGINT NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),
	refresh_hash BYTEA NOT NULL CHECK (length(refresh_hash) = 32),
	salt         BYTEA NOT NULL CHECK (length(salt) = 16),
	rotated_at   BIGINT CHECK (rotated_at >= 0),
	rotations    BYTEA CHECK (length(rotations) <= 320),
	created_at   BIGINT NOT NULL CHECK (created_at >= 0),
	ended_at     BIGINT CHECK (ended_at >= 0),
	end_reason   TEXT NOT NULL DEFAULT ''
);
CREATE INDEX session_grant_session ON session_grant (session_id);
CREATE INDEX session_grant_client ON session_grant (client_id);
CREATE UNIQUE INDEX session_grant_first_party ON session_grant (session_id) WHERE client_id = 'first-party';

CREATE TABLE attachment (
	session_id keytext PRIMARY KEY REFERENCES session (id) ON DELETE CASCADE,
	document   BYTEA NOT NULL,
	version    BIGINT NOT NULL CHECK (version > 0)
);

-- The one counter of the log. mark is the highest time the store has recorded,
-- reach_s the highest before_s: nothing was ever stamped more than a second later.
CREATE TABLE revocation_head (
	id      BIGINT PRIMARY KEY CHECK (id = 1),
	epoch   TEXT NOT NULL CHECK (length(epoch) > 0),
	seq     BIGINT NOT NULL CHECK (seq >= 0),
	bits    BIGINT NOT NULL CHECK (bits BETWEEN 0 AND 65535),
	mark    BIGINT NOT NULL CHECK (mark >= 0),
	reach_s BIGINT NOT NULL DEFAULT 0 CHECK (reach_s >= 0)
);

CREATE TABLE revocation (
	seq      BIGINT PRIMARY KEY CHECK (seq > 0),
	bits     BIGINT NOT NULL CHECK (bits BETWEEN 0 AND 65535),
	kind     TEXT NOT NULL CHECK (length(kind) > 0),
	subject  TEXT NOT NULL,
	before_s BIGINT NOT NULL CHECK (before_s >= 0),
	reason   TEXT NOT NULL,
	at_s     BIGINT NOT NULL CHECK (at_s >= 0),
	until_s  BIGINT NOT NULL CHECK (until_s >= 0)
);
CREATE INDEX revocation_until ON revocation (until_s);

CREATE TABLE access_lifetime (
	lifetime_ms BIGINT PRIMARY KEY CHECK (lifetime_ms > 0),
	held_until  BIGINT NOT NULL CHECK (held_until >= 0)
);

CREATE TABLE keyring (
	id      BIGINT PRIMARY KEY CHECK (id = 1),
	version BIGINT NOT NULL CHECK (version >= 0)
);
INSERT INTO keyring (id, version) VALUES (1, 0);

CREATE TABLE signing_key (
	id         keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	algorithm  TEXT NOT NULL,
	sealed     BYTEA NOT NULL,
	public     BYTEA NOT NULL,
	created_at BIGINT NOT NULL CHECK (created_at >= 0),
	active_at  BIGINT NOT NULL CHECK (active_at >= 0)
);

CREATE TABLE api_key (
	id         keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	name       TEXT NOT NULL,
	scopes     TEXT NOT NULL,
	hash       BYTEA NOT NULL CHECK (length(hash) = 32),
	created_at BIGINT NOT NULL CHECK (created_at >= 0)
);

CREATE TABLE audit_head (
	id  BIGINT PRIMARY KEY CHECK (id = 1),
	seq BIGINT NOT NULL CHECK (seq >= 0)
);
INSERT INTO audit_head (id, seq) VALUES (1, 0);

CREATE TABLE audit (
	seq        BIGINT PRIMARY KEY CHECK (seq > 0),
	at         BIGINT NOT NULL CHECK (at >= 0),
	event      keytext NOT NULL,
	outcome    TEXT NOT NULL,
	actor      TEXT NOT NULL,
	account_id keytext NOT NULL,
	session_id keytext NOT NULL,
	subject    TEXT NOT NULL,
	ip         TEXT NOT NULL,
	user_agent TEXT NOT NULL,
	request_id TEXT NOT NULL
);
CREATE INDEX audit_account ON audit (account_id, seq);
CREATE INDEX audit_event ON audit (event, seq);
CREATE INDEX audit_at ON audit (at);
