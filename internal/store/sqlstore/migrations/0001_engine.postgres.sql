-- Ids, names of kinds and canonical forms compare by bytes, as in SQLite.
CREATE DOMAIN keytext AS TEXT COLLATE "C";

-- The database's own clock in milliseconds, at the moment of the call.
CREATE FUNCTION now_ms() RETURNS BIGINT LANGUAGE sql VOLATILE
	AS 'SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)';
