-- serves: 7
-- What applications ask for by OAuth 2 and OpenID Connect.

-- registration is what the server knows of a client beside its terms, as JSON: '' for
-- the operator's own applications. id_algorithm signs its ID tokens: '' for one that
-- gets none. told says that it wants to hear of sign-outs by the back channel. sector
-- is what a pairwise subject is made for.
ALTER TABLE client ADD COLUMN registration TEXT NOT NULL DEFAULT '';
ALTER TABLE client ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0 CHECK (created_at >= 0);
ALTER TABLE client ADD COLUMN removed_at BIGINT CHECK (removed_at >= 0);
ALTER TABLE client ADD COLUMN changed_before BIGINT NOT NULL DEFAULT 0 CHECK (changed_before >= 0);
ALTER TABLE client ADD COLUMN sector TEXT NOT NULL DEFAULT '';
ALTER TABLE client ADD COLUMN id_algorithm TEXT NOT NULL DEFAULT '' CHECK (id_algorithm IN ('', 'RS256', 'ES256', 'EdDSA'));
ALTER TABLE client ADD COLUMN told BOOLEAN NOT NULL DEFAULT FALSE CHECK (told IN (TRUE, FALSE));

-- The client that a session was opened for, to go on when the person has signed out
-- (offline_access); '' for a session of the person's own.
ALTER TABLE session ADD COLUMN client_id keytext NOT NULL DEFAULT '';

-- The claims parameter of the request that a grant answers (OpenID Connect Core 5.5), as JSON.
ALTER TABLE session_grant ADD COLUMN claims TEXT NOT NULL DEFAULT '';

-- Authorization codes. A request is answered once. grant_id is what the code gave when
-- it was spent.
CREATE TABLE authorization_code (
	id           keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	secret_hash  BYTEA NOT NULL CHECK (length(secret_hash) = 32),
	request_id   keytext NOT NULL CONSTRAINT authorization_code_request UNIQUE,
	session_id   keytext NOT NULL REFERENCES session (id) ON DELETE CASCADE,
	client_id    keytext NOT NULL,
	redirect_uri TEXT NOT NULL,
	challenge    TEXT NOT NULL,
	audience     TEXT NOT NULL,
	scope        TEXT NOT NULL,
	nonce        TEXT NOT NULL,
	claims       TEXT NOT NULL,
	offline      BOOLEAN NOT NULL CHECK (offline IN (TRUE, FALSE)),
	created_at   BIGINT NOT NULL CHECK (created_at >= 0),
	expires_at   BIGINT NOT NULL CHECK (expires_at >= 0),
	spent_at     BIGINT CHECK (spent_at >= 0),
	grant_id     keytext NOT NULL DEFAULT ''
);
CREATE INDEX authorization_code_session ON authorization_code (session_id);
CREATE INDEX authorization_code_created ON authorization_code (created_at);

-- What a person has allowed a client, until they take it back. The id is those of both.
CREATE TABLE consent (
	id         keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 129),
	account_id keytext NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	client_id  keytext NOT NULL REFERENCES client (id),
	scopes     TEXT NOT NULL,
	audiences  TEXT NOT NULL,
	given_at   BIGINT NOT NULL CHECK (given_at >= 0),
	CONSTRAINT consent_pair UNIQUE (account_id, client_id)
);
CREATE INDEX consent_client ON consent (client_id);

-- Assertions by which clients have shown who they are: each is good once. The id is a
-- hash of the client and the jti.
CREATE TABLE client_assertion (
	id         keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	expires_at BIGINT NOT NULL CHECK (expires_at >= 0)
);
CREATE INDEX client_assertion_expires ON client_assertion (expires_at);

-- Grants whose clients are to be told by the back channel when they are over. began_at
-- is when the session began and given_at when the grant did, for what ends all that is
-- older; look_at is when to look whether the session has lapsed meanwhile.
CREATE TABLE logout_watch (
	grant_id   keytext PRIMARY KEY REFERENCES session_grant (id) ON DELETE CASCADE,
	session_id keytext NOT NULL,
	client_id  keytext NOT NULL REFERENCES client (id),
	began_at   BIGINT NOT NULL CHECK (began_at >= 0),
	given_at   BIGINT NOT NULL CHECK (given_at >= 0),
	look_at    BIGINT NOT NULL CHECK (look_at >= 0)
);
CREATE INDEX logout_watch_session ON logout_watch (session_id);
CREATE INDEX logout_watch_client ON logout_watch (client_id, given_at);
CREATE INDEX logout_watch_began ON logout_watch (began_at);
CREATE INDEX logout_watch_look ON logout_watch (look_at);

-- What is to be sent by the back channel. A row is waiting until it was sent, which
-- removes it, or until dead_at. While somebody sends it, lease is theirs and due_at when
-- that ends. The id is the grant's.
CREATE TABLE logout_notice (
	id         keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	client_id  keytext NOT NULL,
	account_id keytext NOT NULL,
	created_at BIGINT NOT NULL CHECK (created_at >= 0),
	expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
	due_at     BIGINT NOT NULL CHECK (due_at >= 0),
	lease      TEXT NOT NULL DEFAULT '',
	attempts   BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0),
	failure    TEXT NOT NULL DEFAULT '',
	dead_at    BIGINT CHECK (dead_at >= 0)
);
CREATE INDEX logout_notice_due ON logout_notice (client_id, due_at) WHERE dead_at IS NULL;
CREATE INDEX logout_notice_dead ON logout_notice (dead_at) WHERE dead_at IS NOT NULL;
