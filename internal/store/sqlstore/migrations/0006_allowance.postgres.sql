-- serves: 4
-- How often may be tried, counted for all nodes together: of each key the microsecond
-- at which its allowance is full again, or until which a mark is set. A key is a keyed
-- hash. All of it is there to be forgotten, so none of it is written to the log.
-- sweep_us may be earlier than full_us: the sweeper moves it on, so that an attempt
-- costs no index entry.
CREATE UNLOGGED TABLE allowance (
	key      BYTEA PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 64),
	full_us  BIGINT NOT NULL CHECK (full_us >= 0),
	sweep_us BIGINT NOT NULL CHECK (sweep_us >= 0)
) WITH (fillfactor = 70);
CREATE INDEX allowance_sweep ON allowance (sweep_us);

-- How long each limit is used up at a time, in microseconds; -1 where its mark is set.
-- One is earned back every so often, and slack is what the others of a whole burst take.
CREATE FUNCTION allowance_waits(at_us BIGINT, keys BYTEA[], everys BIGINT[], slacks BIGINT[], marks BYTEA[])
RETURNS BIGINT[] LANGUAGE sql VOLATILE AS $$
	SELECT array_agg(CASE WHEN m.full_us > at_us THEN -1
		ELSE greatest(0, least(coalesce(a.full_us, 0), at_us + w.slack + w.every) - w.slack - at_us) END ORDER BY w.i)
	FROM unnest(keys, everys, slacks, marks) WITH ORDINALITY w (key, every, slack, mark, i)
	LEFT JOIN allowance a ON a.key = w.key
	LEFT JOIN allowance m ON m.key = w.mark
$$;

-- Spends one from every limit whose mark is not set, unless one is used up, and returns
-- the waits. What is refused writes nothing. Rows are held in the order of their keys,
-- so that no two attempts wait for each other, and looked at again when they are held.
CREATE FUNCTION take_allowance(at_us BIGINT, keys BYTEA[], everys BIGINT[], slacks BIGINT[], marks BYTEA[])
RETURNS BIGINT[] LANGUAGE plpgsql AS $$
DECLARE
	waits BIGINT[] := allowance_waits(at_us, keys, everys, slacks, marks);
BEGIN
	IF 0 < ANY (waits) THEN
		RETURN waits;
	END IF;
	INSERT INTO allowance AS a (key, full_us, sweep_us)
		SELECT w.key, at_us, at_us + w.every FROM unnest(keys, everys, waits) w (key, every, wait)
		WHERE w.wait = 0 ORDER BY w.key
		ON CONFLICT (key) DO UPDATE SET full_us = a.full_us;
	waits := allowance_waits(at_us, keys, everys, slacks, marks);
	IF NOT 0 < ANY (waits) THEN
		UPDATE allowance a SET full_us = greatest(at_us, least(a.full_us, at_us + w.slack + w.every)) + w.every
		FROM unnest(keys, everys, slacks, waits) w (key, every, slack, wait)
		WHERE a.key = w.key AND w.wait = 0;
	END IF;
	RETURN waits;
END $$;

-- Gives one back to every limit whose mark is not set, and then sets a mark, unless it
-- is null.
CREATE FUNCTION return_allowance(at_us BIGINT, keys BYTEA[], everys BIGINT[], slacks BIGINT[], marks BYTEA[], mark BYTEA, mark_us BIGINT)
RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
	PERFORM 1 FROM allowance a WHERE a.key = ANY (keys) ORDER BY a.key FOR UPDATE;
	UPDATE allowance a SET full_us = greatest(at_us, least(a.full_us, at_us + w.slack + w.every) - w.every)
		FROM unnest(keys, everys, slacks, marks) w (key, every, slack, mark)
		WHERE a.key = w.key
			AND NOT EXISTS (SELECT 1 FROM allowance m WHERE m.key = w.mark AND m.full_us > at_us);
	IF mark IS NOT NULL THEN
		INSERT INTO allowance (key, full_us, sweep_us) VALUES (mark, at_us + mark_us, at_us + mark_us)
		ON CONFLICT (key) DO UPDATE SET full_us = excluded.full_us;
	END IF;
END $$;

-- Looks at up to so many keys that may be full, removes those that are, and returns how
-- many it has looked at. It waits for nobody.
CREATE FUNCTION sweep_allowance(at_us BIGINT, most BIGINT)
RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
	due BYTEA[] := ARRAY(SELECT key FROM allowance WHERE sweep_us <= at_us ORDER BY sweep_us LIMIT most FOR UPDATE SKIP LOCKED);
BEGIN
	DELETE FROM allowance WHERE key = ANY (due) AND full_us <= at_us;
	UPDATE allowance SET sweep_us = full_us WHERE key = ANY (due);
	RETURN cardinality(due);
END $$;
