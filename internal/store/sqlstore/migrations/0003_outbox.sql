-- What is to be sent. A row is waiting until it was sent, which removes it, or until
-- dead_at. While somebody sends it, lease is theirs and due_at when that ends.
-- details holds what the words mention, as JSON; no secret is among it.
CREATE TABLE outbox (
	id         keytext PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
	kind       TEXT NOT NULL CHECK (length(kind) > 0),
	recipient  TEXT NOT NULL CHECK (length(recipient) > 0),
	language   TEXT NOT NULL,
	link_id    TEXT NOT NULL,
	details    TEXT NOT NULL,
	created_at BIGINT NOT NULL CHECK (created_at >= 0),
	expires_at BIGINT NOT NULL CHECK (expires_at >= 0),
	due_at     BIGINT NOT NULL CHECK (due_at >= 0),
	lease      TEXT NOT NULL DEFAULT '',
	attempts   BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0),
	failure    TEXT NOT NULL DEFAULT '',
	dead_at    BIGINT CHECK (dead_at >= 0)
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE dead_at IS NULL;
CREATE INDEX outbox_dead ON outbox (dead_at) WHERE dead_at IS NOT NULL;
