-- serves: 4
-- The oldest schema whose servers can go on after a migration; null is its own.
ALTER TABLE schema_migration ADD COLUMN serves BIGINT CHECK (serves > 0);
