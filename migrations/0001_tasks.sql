-- Tasks and the processes that work on them.
--
-- A task's row is written once and never updated. While it waits or runs it has a row in the narrow table `hot`; when it ends that row goes
-- and one row of `outcome` is written. Everything public is a view or table that the contract names; the rest is free to change.
--
-- What grows with time (task, resolutions, outcome, tries, and in the next file training_steps and generations) is partitioned by the month of the
-- task's version-7 id, so that retention drops whole months. The partitions are made by make_partitions().

CREATE SCHEMA IF NOT EXISTS scriptorium;
COMMENT ON SCHEMA scriptorium IS 'A queue of text generation tasks and all of its results';
REVOKE ALL ON SCHEMA scriptorium FROM PUBLIC;

-- Roles belong to the whole cluster: another database may have made them, even in this very moment.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['scriptorium_reader', 'scriptorium_publisher', 'scriptorium_broker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA scriptorium TO scriptorium_reader, scriptorium_publisher, scriptorium_broker;


CREATE FUNCTION scriptorium.uuid_time(id uuid) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN to_timestamp((('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0::double precision);
COMMENT ON FUNCTION scriptorium.uuid_time(uuid) IS 'The time that a version-7 id carries, in whole milliseconds';

CREATE FUNCTION scriptorium.uuid_floor(at timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN rpad(lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
COMMENT ON FUNCTION scriptorium.uuid_floor(timestamptz) IS 'The least id of a moment: a bound for ranges of version-7 ids';

CREATE FUNCTION scriptorium.uuid_v7() RETURNS uuid
    LANGUAGE plpgsql VOLATILE PARALLEL SAFE
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
DECLARE
    -- RFC 9562: 48 bits of milliseconds, then 12 bits of the fraction of one (its method 3), so that ids of one session ascend.
    micros bigint := floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    digits text := translate(gen_random_uuid()::text, '-', '');
BEGIN
    RETURN (lpad(to_hex(micros / 1000), 12, '0') || '7' || lpad(to_hex((micros % 1000) * 4096 / 1000), 3, '0') || substr(digits, 17))::uuid;
END
$$;
COMMENT ON FUNCTION scriptorium.uuid_v7() IS 'A version-7 id of the database''s present';

CREATE TABLE scriptorium.task (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    kind text NOT NULL CHECK (octet_length(kind) <= 64),
    queue text NOT NULL CHECK (octet_length(queue) BETWEEN 1 AND 256),
    priority smallint NOT NULL CHECK (priority BETWEEN -100 AND 100),
    max_attempts smallint NOT NULL CHECK (max_attempts BETWEEN 1 AND 100),
    seed_assigned boolean NOT NULL,
    seed bigint,
    timeout_s double precision CHECK (timeout_s > 0),
    run_at timestamptz NOT NULL,
    key text CHECK (octet_length(key) BETWEEN 1 AND 256),
    client text NOT NULL,
    params jsonb NOT NULL,
    resolved text,
    tags jsonb CHECK (jsonb_typeof(tags) = 'object'),
    after uuid[]
) PARTITION BY RANGE (id);
COMMENT ON TABLE scriptorium.task IS 'A task as it was accepted; never updated';
COMMENT ON COLUMN scriptorium.task.id IS 'Version-7 id';
COMMENT ON COLUMN scriptorium.task.created_at IS 'The id''s time';
COMMENT ON COLUMN scriptorium.task.kind IS 'generate, finetune or verify; from SQL anything, which a broker then refuses';
COMMENT ON COLUMN scriptorium.task.queue IS 'The queue it was published to';
COMMENT ON COLUMN scriptorium.task.priority IS 'Higher first; a waiting task gains 1 a minute';
COMMENT ON COLUMN scriptorium.task.max_attempts IS 'How many failed attempts end it';
COMMENT ON COLUMN scriptorium.task.seed_assigned IS 'Whether the seed was drawn for it';
COMMENT ON COLUMN scriptorium.task.seed IS 'The seed of every attempt';
COMMENT ON COLUMN scriptorium.task.timeout_s IS 'Bounds one attempt, from its start';
COMMENT ON COLUMN scriptorium.task.run_at IS 'Not started earlier';
COMMENT ON COLUMN scriptorium.task.key IS 'Idempotency key, unique in its queue';
COMMENT ON COLUMN scriptorium.task.client IS 'Who published it, for fairness: a public key, a digest, an SQL role';
COMMENT ON COLUMN scriptorium.task.params IS 'As submitted, with the assigned seed';
COMMENT ON COLUMN scriptorium.task.resolved IS 'What was pinned, where it was known at once (else see resolutions): JSON exactly as workers are given it';
COMMENT ON COLUMN scriptorium.task.tags IS 'The publisher''s strings by name';
COMMENT ON COLUMN scriptorium.task.after IS 'Tasks that must have succeeded first';
CREATE INDEX task_tags ON scriptorium.task USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL;
-- Retention asks which waiting tasks name a task of a month.
CREATE INDEX task_with_after ON scriptorium.task (id) WHERE after IS NOT NULL;

CREATE TABLE scriptorium.task_given (
    task uuid PRIMARY KEY,
    given jsonb NOT NULL
);
COMMENT ON TABLE scriptorium.task_given IS
    'Tasks published in SQL with members that their columns cannot hold, as they were given: a broker''s check ends them';
COMMENT ON COLUMN scriptorium.task_given.task IS 'The task; its columns hold defaults instead of what does not fit';
COMMENT ON COLUMN scriptorium.task_given.given IS 'The whole task as it was published';

CREATE TABLE scriptorium.resolutions (
    task uuid PRIMARY KEY,
    resolved text NOT NULL,
    seed bigint,
    seed_assigned boolean NOT NULL,
    resolved_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (task);
COMMENT ON TABLE scriptorium.resolutions IS 'What was pinned for tasks that were checked after they were stored; never updated';
COMMENT ON COLUMN scriptorium.resolutions.task IS 'The task';
COMMENT ON COLUMN scriptorium.resolutions.resolved IS 'Every effective parameter, names as digests: JSON exactly as workers are given it';
COMMENT ON COLUMN scriptorium.resolutions.seed IS 'The seed of every attempt';
COMMENT ON COLUMN scriptorium.resolutions.seed_assigned IS 'Whether the seed was drawn for it';
COMMENT ON COLUMN scriptorium.resolutions.resolved_at IS 'When it was pinned';

CREATE TABLE scriptorium.brokers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    state text NOT NULL DEFAULT 'running',
    seen_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz NOT NULL DEFAULT now(),
    idle boolean NOT NULL DEFAULT false,
    counter bigint NOT NULL DEFAULT 0,
    endpoints jsonb NOT NULL DEFAULT '{}',
    public_key text
) WITH (fillfactor = 50);
COMMENT ON TABLE scriptorium.brokers IS 'One row a live broker process';
COMMENT ON COLUMN scriptorium.brokers.id IS 'Drawn by the process at its start';
COMMENT ON COLUMN scriptorium.brokers.host IS 'Its machine';
COMMENT ON COLUMN scriptorium.brokers.pid IS 'Its process id there';
COMMENT ON COLUMN scriptorium.brokers.version IS 'The version of its program';
COMMENT ON COLUMN scriptorium.brokers.state IS 'running or draining';
COMMENT ON COLUMN scriptorium.brokers.seen_at IS 'Its last beat; for people, no rule reads it';
COMMENT ON COLUMN scriptorium.brokers.started_at IS 'When it registered';
COMMENT ON COLUMN scriptorium.brokers.idle IS 'It waits for a notification: submit() notifies only then, as NOTIFY serialises commits';
COMMENT ON COLUMN scriptorium.brokers.counter IS 'Its beats';
COMMENT ON COLUMN scriptorium.brokers.endpoints IS 'Where it listens, by name';
COMMENT ON COLUMN scriptorium.brokers.public_key IS 'Its CURVE public key';

CREATE TABLE scriptorium.sessions (
    id uuid PRIMARY KEY,
    broker uuid,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    state text NOT NULL DEFAULT 'running',
    seen_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz NOT NULL DEFAULT now(),
    counter bigint NOT NULL DEFAULT 0,
    numerics text[] NOT NULL DEFAULT '{}',
    instruction_set text NOT NULL DEFAULT '',
    threads integer NOT NULL DEFAULT 0,
    slots integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE scriptorium.sessions IS 'One row a live worker process; its leases live as long as its counter rises';
COMMENT ON COLUMN scriptorium.sessions.id IS 'Drawn by the process at its start';
COMMENT ON COLUMN scriptorium.sessions.broker IS 'The broker that beats for it';
COMMENT ON COLUMN scriptorium.sessions.host IS 'Its machine';
COMMENT ON COLUMN scriptorium.sessions.pid IS 'Its process id there';
COMMENT ON COLUMN scriptorium.sessions.version IS 'The version of its program';
COMMENT ON COLUMN scriptorium.sessions.state IS 'running or draining';
COMMENT ON COLUMN scriptorium.sessions.seen_at IS 'Its last beat; for people, no rule reads it';
COMMENT ON COLUMN scriptorium.sessions.started_at IS 'When it registered';
COMMENT ON COLUMN scriptorium.sessions.counter IS 'Its beats: life is counted, not timed';
COMMENT ON COLUMN scriptorium.sessions.numerics IS 'The numerics versions that it computes in';
COMMENT ON COLUMN scriptorium.sessions.instruction_set IS 'The kernels that it chose';
COMMENT ON COLUMN scriptorium.sessions.threads IS 'Its compute threads';
COMMENT ON COLUMN scriptorium.sessions.slots IS 'Sequences that it runs at once';

CREATE TABLE scriptorium.hot (
    task uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    rank bigint NOT NULL,
    queue text NOT NULL,
    client text NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,
    blocked "char" CHECK (blocked IN ('r', 'a', 'c')),
    isolated boolean NOT NULL DEFAULT false,
    cancel_requested boolean NOT NULL DEFAULT false,
    numerics text[],
    lease uuid,
    session uuid REFERENCES scriptorium.sessions (id),
    broker uuid,
    started_at timestamptz,
    CHECK ((lease IS NULL) = (session IS NULL) AND (lease IS NULL) = (started_at IS NULL)),
    CHECK (lease IS NULL OR blocked IS NULL)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000
);
COMMENT ON TABLE scriptorium.hot IS 'One narrow row a waiting or running task; gone when it ends';
COMMENT ON COLUMN scriptorium.hot.task IS 'The task';
COMMENT ON COLUMN scriptorium.hot.created_at IS 'The task''s, so that views sort without the wide row';
COMMENT ON COLUMN scriptorium.hot.run_at IS 'Not started earlier: the publisher''s, or a retry''s back-off';
COMMENT ON COLUMN scriptorium.hot.rank IS 'run_at less a minute for each point of priority, in milliseconds: lower first';
COMMENT ON COLUMN scriptorium.hot.queue IS 'The task''s queue';
COMMENT ON COLUMN scriptorium.hot.client IS 'The task''s client';
COMMENT ON COLUMN scriptorium.hot.attempt IS 'Starts so far';
COMMENT ON COLUMN scriptorium.hot.failures IS 'Attempts that count against max_attempts';
COMMENT ON COLUMN scriptorium.hot.losses IS 'Attempts lost with their worker among batch mates';
COMMENT ON COLUMN scriptorium.hot.blocked IS 'Why it is not in line: r run_at ahead, a waits for others, c to be checked by a broker; null: in line';
COMMENT ON COLUMN scriptorium.hot.isolated IS 'The present run has no batch mates, on purpose';
COMMENT ON COLUMN scriptorium.hot.cancel_requested IS 'Its worker is to stop it; decides nothing by itself';
COMMENT ON COLUMN scriptorium.hot.numerics IS 'What the worker of its first attempt computed in; null before that has ended';
COMMENT ON COLUMN scriptorium.hot.lease IS 'The fencing token of the present run; every later write names it';
COMMENT ON COLUMN scriptorium.hot.session IS 'Whose lease it is';
COMMENT ON COLUMN scriptorium.hot.broker IS 'The broker that granted it';
COMMENT ON COLUMN scriptorium.hot.started_at IS 'When the lease was made';
CREATE INDEX hot_ready ON scriptorium.hot (queue, rank, task) WHERE lease IS NULL AND blocked IS NULL;
-- The predicate follows from "session = …", so that the foreign key's own check can use it too.
CREATE INDEX hot_leased ON scriptorium.hot (session) WHERE session IS NOT NULL;
CREATE INDEX hot_due ON scriptorium.hot (run_at) WHERE blocked = 'r';
CREATE INDEX hot_blocked ON scriptorium.hot (blocked, task) WHERE blocked IN ('a', 'c');
CREATE INDEX hot_cancel ON scriptorium.hot (task) WHERE cancel_requested;

CREATE TABLE scriptorium.outcome (
    task uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    started_at timestamptz,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    losses integer NOT NULL,
    state text NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled')),
    ending text CHECK (ending IN ('succeeded', 'failed', 'lost', 'released', 'cancelled', 'timed_out', 'superseded')),
    lease uuid,
    worker uuid,
    broker uuid,
    error jsonb,
    result jsonb
) PARTITION BY RANGE (task);
COMMENT ON TABLE scriptorium.outcome IS 'How a task ended, with its last attempt where one ran to that end';
COMMENT ON COLUMN scriptorium.outcome.task IS 'The task';
COMMENT ON COLUMN scriptorium.outcome.created_at IS 'The task''s, so that views sort without the wide row';
COMMENT ON COLUMN scriptorium.outcome.finished_at IS 'When the end was recorded';
COMMENT ON COLUMN scriptorium.outcome.started_at IS 'The last start; null where it never ran';
COMMENT ON COLUMN scriptorium.outcome.attempt IS 'Starts in all';
COMMENT ON COLUMN scriptorium.outcome.failures IS 'Attempts that counted against max_attempts';
COMMENT ON COLUMN scriptorium.outcome.losses IS 'Attempts lost with their worker among batch mates';
COMMENT ON COLUMN scriptorium.outcome.state IS 'succeeded, failed or cancelled';
COMMENT ON COLUMN scriptorium.outcome.ending IS 'How the last attempt ended; null where the task ended without one';
COMMENT ON COLUMN scriptorium.outcome.lease IS 'The lease under which it ended; null where the task ended without one';
COMMENT ON COLUMN scriptorium.outcome.worker IS 'The session of that lease';
COMMENT ON COLUMN scriptorium.outcome.broker IS 'The broker that granted it';
COMMENT ON COLUMN scriptorium.outcome.error IS 'code, message and field, where it failed';
COMMENT ON COLUMN scriptorium.outcome.result IS 'What the other relations do not hold';
CREATE INDEX outcome_created ON scriptorium.outcome (created_at);
CREATE INDEX outcome_unhappy ON scriptorium.outcome (state, created_at) WHERE state <> 'succeeded';

CREATE TABLE scriptorium.tries (
    task uuid NOT NULL,
    attempt integer NOT NULL,
    lease uuid NOT NULL,
    worker uuid,
    broker uuid,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'lost', 'released', 'cancelled', 'timed_out', 'superseded')),
    error jsonb,
    PRIMARY KEY (task, attempt)
) PARTITION BY RANGE (task);
COMMENT ON TABLE scriptorium.tries IS 'Earlier attempts of tasks that were started again';
COMMENT ON COLUMN scriptorium.tries.task IS 'The task';
COMMENT ON COLUMN scriptorium.tries.attempt IS 'The number of the start, from 1';
COMMENT ON COLUMN scriptorium.tries.lease IS 'Its lease, so that a late write is known for what it is';
COMMENT ON COLUMN scriptorium.tries.worker IS 'The session that ran it';
COMMENT ON COLUMN scriptorium.tries.broker IS 'The broker that granted it';
COMMENT ON COLUMN scriptorium.tries.started_at IS 'When its lease was made';
COMMENT ON COLUMN scriptorium.tries.finished_at IS 'When its lease ended';
COMMENT ON COLUMN scriptorium.tries.outcome IS 'How it ended';
COMMENT ON COLUMN scriptorium.tries.error IS 'code, message and field, where it failed; reason, where it was released';

CREATE TABLE scriptorium.task_keys (
    queue text NOT NULL,
    key text NOT NULL,
    task uuid NOT NULL,
    PRIMARY KEY (queue, key)
);
COMMENT ON TABLE scriptorium.task_keys IS 'Idempotency keys; a key lives as long as its task''s row';
COMMENT ON COLUMN scriptorium.task_keys.queue IS 'The queue in which the key is unique';
COMMENT ON COLUMN scriptorium.task_keys.key IS 'The publisher''s key';
COMMENT ON COLUMN scriptorium.task_keys.task IS 'The first task published with it; its kind and params are what a second must equal';
CREATE INDEX task_keys_task ON scriptorium.task_keys (task);

CREATE TABLE scriptorium.task_after (
    parent uuid NOT NULL,
    child uuid NOT NULL,
    PRIMARY KEY (parent, child)
);
COMMENT ON TABLE scriptorium.task_after IS 'Which waiting task waits for which; rows go when the child is let go or ends';
COMMENT ON COLUMN scriptorium.task_after.parent IS 'Must have succeeded first';
COMMENT ON COLUMN scriptorium.task_after.child IS 'The task that waits';
CREATE INDEX task_after_child ON scriptorium.task_after (child);

CREATE TABLE scriptorium.task_progress (
    task uuid PRIMARY KEY,
    progress jsonb NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE scriptorium.task_progress IS 'How far long tasks are';
COMMENT ON COLUMN scriptorium.task_progress.task IS 'The task';
COMMENT ON COLUMN scriptorium.task_progress.progress IS 'The last figures that its worker sent';

CREATE TABLE scriptorium.task_resume (
    task uuid PRIMARY KEY,
    resume jsonb NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE scriptorium.task_resume IS 'Where an interrupted finetune goes on';
COMMENT ON COLUMN scriptorium.task_resume.task IS 'The task';
COMMENT ON COLUMN scriptorium.task_resume.resume IS 'Digest and step of its last saved state';
COMMENT ON COLUMN scriptorium.task_resume.saved_at IS 'When it was saved';

CREATE TABLE scriptorium.queues (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    paused boolean NOT NULL DEFAULT false,
    max_running integer CHECK (max_running >= 0)
);
COMMENT ON TABLE scriptorium.queues IS 'Settings of queues; a queue without a row has none';
COMMENT ON COLUMN scriptorium.queues.name IS 'The queue';
COMMENT ON COLUMN scriptorium.queues.paused IS 'Nothing of it is started';
COMMENT ON COLUMN scriptorium.queues.max_running IS 'At most so many of its tasks run at once; null: no limit';

-- A lock by the queue's name orders leases and settings, also where the queue has no row yet. Transactions that lease tasks of a queue without limit
-- share it; the one that changes its settings has it alone, and so has each claim from a limited queue, which counts what runs. So whoever leases after
-- new settings are committed has seen them, and sees all that was leased before.

CREATE FUNCTION scriptorium.queue_lock(name text) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN hashtextextended('scriptorium.queue.' || name, 0);
COMMENT ON FUNCTION scriptorium.queue_lock(text) IS 'The number of the advisory lock that stands for a queue';

CREATE FUNCTION scriptorium.lock_queue() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(scriptorium.queue_lock(NEW.name));
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION scriptorium.lock_queue() IS 'Waits until leases under the old settings of a queue are committed';
CREATE TRIGGER lock_queue BEFORE INSERT OR UPDATE ON scriptorium.queues FOR EACH ROW EXECUTE FUNCTION scriptorium.lock_queue();

CREATE FUNCTION scriptorium.take_queue(name text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
BEGIN
    -- Another broker's claim takes milliseconds; somebody's open transaction is not waited for.
    FOR attempt IN 1 .. 20 LOOP
        IF pg_try_advisory_xact_lock(scriptorium.queue_lock(name)) THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.002);
    END LOOP;
    RETURN false;
END
$$;
COMMENT ON FUNCTION scriptorium.take_queue(text) IS 'Takes the lock of a limited queue for a claim, unless somebody keeps it for long';

CREATE FUNCTION scriptorium.cron_fault(cron text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    titles CONSTANT text[] := ARRAY['minute', 'hour', 'day of the month', 'month', 'day of the week'];
    lows CONSTANT integer[] := ARRAY[0, 0, 1, 1, 0];
    highs CONSTANT integer[] := ARRAY[59, 23, 31, 12, 7];
    months CONSTANT text[] := ARRAY['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
    weekdays CONSTANT text[] := ARRAY['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
    lengths CONSTANT integer[] := ARRAY[31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    text CONSTANT text := lower(btrim(cron, E' \t'));
    fields text[] := regexp_split_to_array(text, '[ \t]+');
    field text;
    item text;
    parts text[];
    ends integer[];
    step integer;
    earliest_day integer := 31;
    longest_month integer := 0;
BEGIN
    IF text IN ('@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually') THEN
        RETURN NULL;
    ELSIF cardinality(fields) <> 5 OR octet_length(cron) > 1000 THEN
        RETURN 'cron needs five fields (minute, hour, day of the month, month, day of the week) or one of @hourly, @daily, @weekly, @monthly, @yearly';
    END IF;
    FOR place IN 1 .. 5 LOOP
        field := format('the %s field of cron', titles[place]);
        FOREACH item IN ARRAY regexp_split_to_array(fields[place], ',') LOOP
            parts := regexp_match(item, '^(?:(\*)|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?$');
            ends := ARRAY[lows[place], highs[place]];
            FOR place_of_end IN 1 .. 2 LOOP
                CONTINUE WHEN parts IS NULL OR parts[place_of_end + 1] IS NULL;
                ends[place_of_end] := CASE
                    WHEN parts[place_of_end + 1] ~ '^[0-9]' THEN parts[place_of_end + 1]::integer
                    WHEN place = 4 THEN array_position(months, parts[place_of_end + 1])
                    WHEN place = 5 THEN array_position(weekdays, parts[place_of_end + 1]) - 1
                END;
            END LOOP;
            IF parts IS NULL OR ends[1] IS NULL OR ends[2] IS NULL THEN
                RETURN field || ' holds something that is no value, range, list or step';
            END IF;
            step := parts[4]::integer;
            -- A value alone is itself; with a step it is where the steps begin.
            IF parts[1] IS NULL AND parts[3] IS NULL AND step IS NULL THEN ends[2] := ends[1]; END IF;
            -- Sunday ends the week, too.
            IF place = 5 AND parts[3] IS NOT NULL AND ends[2] = 0 AND ends[1] > 0 THEN ends[2] := 7; END IF;
            IF ends[1] NOT BETWEEN lows[place] AND highs[place] OR ends[2] NOT BETWEEN lows[place] AND highs[place] THEN
                RETURN format('%s has a value that is not in %s … %s', field, lows[place], highs[place]);
            ELSIF ends[2] < ends[1] THEN
                RETURN field || ' has a range that ends before it begins';
            ELSIF step = 0 THEN
                RETURN field || ' has a step of 0';
            END IF;
            IF place = 3 THEN
                earliest_day := least(earliest_day, ends[1]);
            ELSIF place = 4 THEN
                longest_month := greatest(
                    longest_month, (SELECT max(lengths[m]) FROM generate_series(ends[1], ends[2], coalesce(step, 1)) m));
            END IF;
        END LOOP;
    END LOOP;
    IF (fields[3] LIKE '*%' OR fields[5] LIKE '*%') AND earliest_day > longest_month THEN
        RETURN 'cron names no day that exists: none of its months has that day';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION scriptorium.cron_fault(text) IS
    'What is wrong with a cron expression; null where nothing is. The rules are those of CronExpression in the program, word for word';

CREATE TABLE scriptorium.schedules (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    cron text NOT NULL,
    kind text NOT NULL CHECK (octet_length(kind) BETWEEN 1 AND 64),
    params jsonb NOT NULL CHECK (jsonb_typeof(params) = 'object' AND octet_length(params::text) <= 16000000),
    queue text NOT NULL DEFAULT 'default',
    enabled boolean NOT NULL DEFAULT true,
    misfire text NOT NULL DEFAULT 'one' CHECK (misfire IN ('one', 'skip', 'all')),
    last_run_at timestamptz,
    next_run_at timestamptz,
    options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object' AND NOT options ?| ARRAY['kind', 'params', 'queue', 'key', 'run_at'])
);
COMMENT ON TABLE scriptorium.schedules IS 'Periodic tasks';
COMMENT ON COLUMN scriptorium.schedules.name IS 'The schedule; its tasks carry it as the tag schedule';
COMMENT ON COLUMN scriptorium.schedules.cron IS 'When: five fields, UTC, or @hourly and the like';
COMMENT ON COLUMN scriptorium.schedules.kind IS 'The task''s kind';
COMMENT ON COLUMN scriptorium.schedules.params IS 'The task''s params, checked when it is due';
COMMENT ON COLUMN scriptorium.schedules.queue IS 'The task''s queue';
COMMENT ON COLUMN scriptorium.schedules.enabled IS 'Whether it makes tasks; what passes while it does not is not made up for';
COMMENT ON COLUMN scriptorium.schedules.misfire IS 'After an outage: one task, none (skip), or all that were missed';
COMMENT ON COLUMN scriptorium.schedules.last_run_at IS 'The nominal time of its last task';
COMMENT ON COLUMN scriptorium.schedules.next_run_at IS 'The nominal time of its next task; null until a broker has looked';
COMMENT ON COLUMN scriptorium.schedules.options IS 'Further members of the task: priority, timeout_s, max_attempts, after, tags';
CREATE INDEX schedules_due ON scriptorium.schedules (next_run_at NULLS FIRST) WHERE enabled;

CREATE FUNCTION scriptorium.check_schedule() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
DECLARE
    fault text;
BEGIN
    IF TG_OP = 'INSERT' OR NEW.cron IS DISTINCT FROM OLD.cron THEN
        fault := scriptorium.cron_fault(NEW.cron);
        IF fault IS NOT NULL THEN
            RAISE EXCEPTION '%', fault USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END IF;
    -- Its next time is counted from now on, where it changes or begins.
    IF TG_OP = 'UPDATE' AND (NEW.cron <> OLD.cron OR NEW.enabled AND NOT OLD.enabled) THEN
        NEW.next_run_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION scriptorium.check_schedule() IS 'Refuses a schedule whose cron expression cannot be read';
CREATE TRIGGER check_schedule BEFORE INSERT OR UPDATE ON scriptorium.schedules FOR EACH ROW EXECUTE FUNCTION scriptorium.check_schedule();

CREATE TABLE scriptorium.schedule_ticks (
    schedule text NOT NULL,
    tick timestamptz NOT NULL,
    task uuid NOT NULL,
    PRIMARY KEY (schedule, tick)
);
COMMENT ON TABLE scriptorium.schedule_ticks IS 'One row a task that a schedule made in the last days: one task a tick, however many brokers';
COMMENT ON COLUMN scriptorium.schedule_ticks.schedule IS 'The schedule';
COMMENT ON COLUMN scriptorium.schedule_ticks.tick IS 'The nominal time, which names the tick';
COMMENT ON COLUMN scriptorium.schedule_ticks.task IS 'The task made for it';
