-- Which broker decides over a session's leases.

ALTER TABLE scriptorium.sessions ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN scriptorium.sessions.epoch IS 'Rises with each broker that it joins: what an earlier one decides by itself over its leases does not count';
ALTER TABLE scriptorium.sessions ADD COLUMN public_key text;
COMMENT ON COLUMN scriptorium.sessions.public_key IS 'The CURVE public key under which it was let in; another does not raise its epoch';

CREATE TABLE scriptorium.ended_sessions (
    id uuid PRIMARY KEY,
    epoch bigint NOT NULL,
    public_key text,
    ended_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE scriptorium.ended_sessions IS 'Sessions of the last day that were ended: a worker that lives on may join anew, a word of its from before does not count';
COMMENT ON COLUMN scriptorium.ended_sessions.id IS 'sessions.id';
COMMENT ON COLUMN scriptorium.ended_sessions.epoch IS 'The last that it had';
COMMENT ON COLUMN scriptorium.ended_sessions.public_key IS 'The last that it was let in under';
COMMENT ON COLUMN scriptorium.ended_sessions.ended_at IS 'When it was ended; a day later the end of another takes this row with it';
CREATE INDEX ended_sessions_old ON scriptorium.ended_sessions (ended_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON scriptorium.ended_sessions TO scriptorium_broker;
