-- Which broker decides over a session's leases.

ALTER TABLE scriptorium.sessions ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN scriptorium.sessions.epoch IS 'Rises with each broker that it joins: what an earlier one decides by itself over its leases does not count';
