-- The public faces of the queue's tables.

-- Two bare arms and a join: with a million finished tasks, one id takes 0.1 ms and the latest fifty 0.7 ms.
CREATE VIEW scriptorium.tasks AS
SELECT
    t.id, t.kind, t.queue, s.state, t.priority::integer AS priority, t.key, t.params,
    coalesce(t.resolved, r.resolved)::jsonb AS resolved, coalesce(t.seed, r.seed) AS seed, t.tags,
    s.attempt, t.max_attempts::integer AS max_attempts, t.timeout_s, t.after, coalesce(s.run_at, t.run_at) AS run_at, s.created_at, s.started_at, s.finished_at,
    s.error, p.progress, s.result, s.worker, s.cancel_requested, t.client
FROM (
    SELECT
        h.task, h.created_at, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END AS state, h.attempt, h.run_at, h.started_at,
        NULL::timestamptz AS finished_at, NULL::jsonb AS error, NULL::jsonb AS result, h.session AS worker, h.cancel_requested
    FROM scriptorium.hot h
    UNION ALL
    SELECT
        o.task, o.created_at, o.state, o.attempt, NULL::timestamptz, o.started_at,
        o.finished_at, o.error, o.result, o.worker, false
    FROM scriptorium.outcome o
) s
JOIN scriptorium.task t ON t.id = s.task
LEFT JOIN scriptorium.resolutions r ON r.task = s.task
LEFT JOIN scriptorium.task_progress p ON p.task = s.task;
COMMENT ON VIEW scriptorium.tasks IS 'One row a task';
COMMENT ON COLUMN scriptorium.tasks.id IS 'Version-7 id';
COMMENT ON COLUMN scriptorium.tasks.kind IS 'generate, finetune or verify';
COMMENT ON COLUMN scriptorium.tasks.queue IS 'The queue it was published to';
COMMENT ON COLUMN scriptorium.tasks.state IS 'queued, running, succeeded, failed or cancelled';
COMMENT ON COLUMN scriptorium.tasks.priority IS 'Higher first; a waiting task gains 1 a minute';
COMMENT ON COLUMN scriptorium.tasks.key IS 'Idempotency key, unique in its queue';
COMMENT ON COLUMN scriptorium.tasks.params IS 'As submitted, with the assigned seed';
COMMENT ON COLUMN scriptorium.tasks.resolved IS 'What was pinned: every effective value, names as digests';
COMMENT ON COLUMN scriptorium.tasks.seed IS 'The seed of every attempt';
COMMENT ON COLUMN scriptorium.tasks.tags IS 'The publisher''s strings by name';
COMMENT ON COLUMN scriptorium.tasks.attempt IS 'Starts so far';
COMMENT ON COLUMN scriptorium.tasks.max_attempts IS 'How many failed attempts end it';
COMMENT ON COLUMN scriptorium.tasks.timeout_s IS 'Bounds one attempt, from its start';
COMMENT ON COLUMN scriptorium.tasks.after IS 'Tasks that must have succeeded first';
COMMENT ON COLUMN scriptorium.tasks.run_at IS 'Not started earlier';
COMMENT ON COLUMN scriptorium.tasks.created_at IS 'When it was accepted';
COMMENT ON COLUMN scriptorium.tasks.started_at IS 'Its last start';
COMMENT ON COLUMN scriptorium.tasks.finished_at IS 'When its end was recorded';
COMMENT ON COLUMN scriptorium.tasks.error IS 'code, message and field, where it failed';
COMMENT ON COLUMN scriptorium.tasks.progress IS 'How far it is';
COMMENT ON COLUMN scriptorium.tasks.result IS 'What the other relations do not hold: a verdict, a finetune''s figures';
COMMENT ON COLUMN scriptorium.tasks.worker IS 'The worker of its last start';
COMMENT ON COLUMN scriptorium.tasks.cancel_requested IS 'It runs and is to be stopped';
COMMENT ON COLUMN scriptorium.tasks.client IS 'Who published it';

CREATE VIEW scriptorium.attempts AS
SELECT a.task AS task_id, a.attempt, a.worker, a.broker, a.started_at, a.finished_at, a.outcome, a.error
FROM scriptorium.tries a
UNION ALL
SELECT h.task, h.attempt, h.session, h.broker, h.started_at, NULL, NULL, NULL
FROM scriptorium.hot h
WHERE h.lease IS NOT NULL
UNION ALL
SELECT o.task, o.attempt, o.worker, o.broker, o.started_at, o.finished_at, o.ending, o.error
FROM scriptorium.outcome o
WHERE o.lease IS NOT NULL;
COMMENT ON VIEW scriptorium.attempts IS 'One row a try of a task';
COMMENT ON COLUMN scriptorium.attempts.task_id IS 'The task';
COMMENT ON COLUMN scriptorium.attempts.attempt IS 'The number of the start, from 1';
COMMENT ON COLUMN scriptorium.attempts.worker IS 'The worker that ran it';
COMMENT ON COLUMN scriptorium.attempts.broker IS 'The broker that granted it';
COMMENT ON COLUMN scriptorium.attempts.started_at IS 'When its lease was made';
COMMENT ON COLUMN scriptorium.attempts.finished_at IS 'When its lease ended; null while it runs';
COMMENT ON COLUMN scriptorium.attempts.outcome IS 'succeeded, failed, lost, released, cancelled, timed_out or superseded; null while it runs';
COMMENT ON COLUMN scriptorium.attempts.error IS 'code, message and field, where it failed';

CREATE VIEW scriptorium.workers AS
SELECT s.id, s.host, s.pid, s.version, s.state, s.seen_at, s.started_at, s.broker, s.numerics, s.instruction_set, s.threads, s.slots
FROM scriptorium.sessions s;
COMMENT ON VIEW scriptorium.workers IS 'One row a live worker process';
COMMENT ON COLUMN scriptorium.workers.id IS 'Drawn by the process at its start';
COMMENT ON COLUMN scriptorium.workers.host IS 'Its machine';
COMMENT ON COLUMN scriptorium.workers.pid IS 'Its process id there';
COMMENT ON COLUMN scriptorium.workers.version IS 'The version of its program';
COMMENT ON COLUMN scriptorium.workers.state IS 'running or draining';
COMMENT ON COLUMN scriptorium.workers.seen_at IS 'Its last beat';
COMMENT ON COLUMN scriptorium.workers.started_at IS 'When it registered';
COMMENT ON COLUMN scriptorium.workers.broker IS 'The broker it is joined to';
COMMENT ON COLUMN scriptorium.workers.numerics IS 'The numerics versions that it computes in';
COMMENT ON COLUMN scriptorium.workers.instruction_set IS 'The kernels that it chose';
COMMENT ON COLUMN scriptorium.workers.threads IS 'Its compute threads';
COMMENT ON COLUMN scriptorium.workers.slots IS 'Sequences that it runs at once';
