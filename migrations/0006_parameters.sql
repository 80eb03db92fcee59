-- What workers know of tasks.

ALTER TABLE scriptorium.sessions ADD COLUMN parameters text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN scriptorium.sessions.parameters IS 'Names of the parameters that it knows: no task with another is granted to it; empty where it did not say';
