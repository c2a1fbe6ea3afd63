-- serves: 4
-- The mark that a move of all records leaves in both databases: in the target from its
-- beginning, so that nobody serves the half of it, and in the source from its end, so
-- that nobody serves it as a second one.
CREATE TABLE transfer (
	id          BIGINT PRIMARY KEY CHECK (id = 1),
	role        TEXT NOT NULL CHECK (role IN ('source', 'target')),
	peer        TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	begun_at    BIGINT NOT NULL CHECK (begun_at >= 0),
	finished_at BIGINT CHECK (finished_at >= 0)
);
