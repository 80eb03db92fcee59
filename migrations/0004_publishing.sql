-- Publishing and cancelling in SQL, and who may do what.

-- What a published task's members must look like to stand in their columns. Whatever else is given is kept beside them: a broker's check, the
-- only one that decides, then ends the task with the error that a client would get.

CREATE FUNCTION scriptorium.whole_number(value jsonb, lowest integer, highest integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN jsonb_typeof(value) = 'number' THEN
            CASE WHEN value::numeric BETWEEN lowest AND highest AND value::numeric = trunc(value::numeric) THEN value::numeric::integer END
    END;
COMMENT ON FUNCTION scriptorium.whole_number(jsonb, integer, integer) IS 'The whole number within bounds that a JSON value is; null for any other value';

CREATE FUNCTION scriptorium.moment(value jsonb) RETURNS timestamptz
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value #>> '{}' ~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$' THEN
        RETURN (value #>> '{}')::timestamptz;
    END IF;
    RETURN NULL;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION scriptorium.moment(jsonb) IS 'The time that RFC 3339 text names; null for any other value';

CREATE FUNCTION scriptorium.id_list(value jsonb) RETURNS uuid[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN jsonb_typeof(value) = 'array' AND NOT jsonb_path_exists(
            value, 'strict $[*] ? (!(@.type() == "string" && @ like_regex "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"))')
        THEN (SELECT array_agg((e.value #>> '{}')::uuid ORDER BY e.place) FROM jsonb_array_elements(value) WITH ORDINALITY e (value, place))
    END;
COMMENT ON FUNCTION scriptorium.id_list(jsonb) IS 'The ids that a JSON list holds, in its order; null for any other value';

CREATE FUNCTION scriptorium.are_tags(value jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN jsonb_typeof(value) = 'object' THEN (
            SELECT count(*) <= 32 AND coalesce(bool_and(
                jsonb_typeof(t.value) = 'string' AND octet_length(t.value #>> '{}') <= 256 AND octet_length(t.key) <= 256), true)
            FROM jsonb_each(value) t)
        ELSE false
    END;
COMMENT ON FUNCTION scriptorium.are_tags(jsonb) IS 'Whether a JSON value is up to 32 strings by name, each of up to 256 bytes';

CREATE FUNCTION scriptorium.wake_brokers() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
BEGIN
    -- NOTIFY serialises commits, so it is sent only while a broker waits for it; a busy one looks by itself within a second.
    IF EXISTS (SELECT FROM scriptorium.brokers b WHERE b.idle) THEN
        PERFORM pg_notify('scriptorium', '');
    END IF;
END
$$;
COMMENT ON FUNCTION scriptorium.wake_brokers() IS 'Tells idle brokers, once this transaction is committed, that there is something to do';

CREATE FUNCTION scriptorium.publish(id uuid, given jsonb, publisher text, path text DEFAULT '') RETURNS uuid
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    task jsonb := jsonb_strip_nulls(given);
    kind text := task ->> 'kind';
    params jsonb := task -> 'params';
    queue text := task ->> 'queue';
    key text := task ->> 'key';
    priority integer := scriptorium.whole_number(task -> 'priority', -100, 100);
    max_attempts integer := scriptorium.whole_number(task -> 'max_attempts', 1, 100);
    run_at timestamptz := scriptorium.moment(task -> 'run_at');
    after uuid[] := scriptorium.id_list(task -> 'after');
    tags jsonb := task -> 'tags';
    timeout_s double precision;
    created timestamptz := scriptorium.uuid_time(id);
    seed bigint;
    seed_assigned boolean := false;
    fits boolean;
    first record;
    waits boolean := false;
BEGIN
    IF kind IS NULL THEN
        RAISE EXCEPTION '%kind is required', path USING ERRCODE = 'invalid_parameter_value';
    ELSIF params IS NULL OR jsonb_typeof(params) <> 'object' THEN
        RAISE EXCEPTION '%params must be a JSON object', path USING ERRCODE = 'invalid_parameter_value';
    ELSIF octet_length(task::text) > 16777216 THEN
        RAISE EXCEPTION 'the task has more than 16 MiB (%params)', path USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF jsonb_typeof(task -> 'timeout_s') = 'number' AND (task ->> 'timeout_s')::numeric BETWEEN 1e-30 AND 1e9 THEN
        timeout_s := (task ->> 'timeout_s')::numeric;
    END IF;
    fits := octet_length(kind) <= 64 AND jsonb_typeof(task -> 'kind') = 'string'
        AND (queue IS NULL OR jsonb_typeof(task -> 'queue') = 'string' AND queue ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$')
        AND (key IS NULL OR jsonb_typeof(task -> 'key') = 'string' AND octet_length(key) BETWEEN 1 AND 256)
        AND (priority IS NOT NULL OR NOT task ? 'priority')
        AND (max_attempts IS NOT NULL OR NOT task ? 'max_attempts')
        AND (timeout_s IS NOT NULL OR NOT task ? 'timeout_s')
        AND (run_at IS NOT NULL OR NOT task ? 'run_at')
        AND (after IS NOT NULL AND cardinality(after) <= 100 OR NOT task ? 'after' OR task -> 'after' = '[]')
        AND (tags IS NULL OR scriptorium.are_tags(tags))
        AND task - ARRAY['kind', 'params', 'queue', 'key', 'priority', 'max_attempts', 'timeout_s', 'run_at', 'after', 'tags'] = '{}';
    IF NOT fits THEN
        kind := left(kind, 16);
        IF jsonb_typeof(task -> 'queue') IS DISTINCT FROM 'string' OR queue !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$' THEN queue := NULL; END IF;
        IF jsonb_typeof(task -> 'key') IS DISTINCT FROM 'string' OR octet_length(key) NOT BETWEEN 1 AND 256 THEN key := NULL; END IF;
        IF NOT scriptorium.are_tags(tags) THEN tags := NULL; END IF;
        IF cardinality(after) > 100 THEN after := NULL; END IF;
    END IF;
    queue := coalesce(queue, 'default');
    run_at := coalesce(run_at, created);

    WHILE key IS NOT NULL LOOP
        -- Waits for a transaction that holds the key; a rolled-back one leaves it to us.
        INSERT INTO scriptorium.task_keys AS k (queue, key, task) VALUES (queue, key, id) ON CONFLICT DO NOTHING;
        EXIT WHEN FOUND;
        SELECT
            k.task AS owner, t.id,
            t.kind = kind AND jsonb_strip_nulls(CASE WHEN t.seed_assigned THEN t.params - 'seed' ELSE t.params END) = params AS same
        INTO first
        FROM scriptorium.task_keys k LEFT JOIN scriptorium.task t ON t.id = k.task
        WHERE k.queue = queue AND k.key = key;
        IF first.id IS NOT NULL THEN
            IF first.same THEN RETURN first.id; END IF;
            RAISE EXCEPTION '%key was used for a task with another kind or other params', path USING ERRCODE = 'unique_violation';
        END IF;
        -- Its task is gone, dropped by retention: the key goes after it.
        DELETE FROM scriptorium.task_keys k WHERE k.queue = queue AND k.key = key AND k.task = first.owner;
    END LOOP;

    IF after IS NOT NULL THEN
        -- Holds the ends of those it waits for until this transaction is decided, so that none slips between look and insert.
        PERFORM FROM scriptorium.hot h WHERE h.task = ANY (after) ORDER BY h.task FOR SHARE;
        waits := EXISTS (
            SELECT FROM unnest(after) u WHERE NOT EXISTS (SELECT FROM scriptorium.outcome o WHERE o.task = u AND o.state = 'succeeded'));
    END IF;

    IF params ? 'seed' THEN
        seed := CASE
            WHEN jsonb_typeof(params -> 'seed') = 'number' THEN
                CASE WHEN (params ->> 'seed')::numeric BETWEEN 0 AND 9007199254740991 THEN (params ->> 'seed')::numeric::bigint END
        END;
    ELSIF kind IN ('generate', 'finetune') THEN
        seed := 10000000 + floor(random() * 90000000)::bigint;
        seed_assigned := true;
        params := params || jsonb_build_object('seed', seed);
    END IF;

    INSERT INTO scriptorium.task (
        id, created_at, kind, queue, priority, max_attempts, seed_assigned, seed, timeout_s, run_at, key, client, params, tags, after
    ) VALUES (
        id, created, kind, queue, coalesce(priority, 0), coalesce(max_attempts, 3), seed_assigned, seed, timeout_s, run_at, key, publisher, params,
        tags, after
    );
    IF NOT fits THEN
        INSERT INTO scriptorium.task_given (task, given) VALUES (id, task);
    END IF;
    IF waits THEN
        INSERT INTO scriptorium.task_after (parent, child) SELECT DISTINCT u, id FROM unnest(after) u;
    END IF;
    INSERT INTO scriptorium.hot (task, created_at, run_at, rank, queue, client, blocked)
    VALUES (
        id, created, run_at, floor(extract(epoch FROM run_at) * 1000)::bigint - coalesce(priority, 0) * 60000, queue, publisher, 'c'
    );
    RETURN id;
END
$$;
COMMENT ON FUNCTION scriptorium.publish(uuid, jsonb, text, text) IS
    'Stores a task that a broker has yet to check; returns its id, or that of the first with its key. For submit() and the like';

CREATE FUNCTION scriptorium.submit(
    kind text,
    params jsonb,
    queue text DEFAULT 'default',
    priority integer DEFAULT 0,
    key text DEFAULT NULL,
    run_at timestamptz DEFAULT NULL,
    timeout_s double precision DEFAULT NULL,
    max_attempts integer DEFAULT 3,
    after uuid[] DEFAULT NULL,
    tags jsonb DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, scriptorium, pg_temp
    SET TimeZone = 'UTC'
AS $$
DECLARE
    stored uuid;
BEGIN
    stored := scriptorium.publish(
        scriptorium.uuid_v7(),
        jsonb_build_object(
            'kind', kind, 'params', params, 'queue', queue, 'priority', priority, 'key', key, 'run_at', run_at, 'timeout_s', timeout_s,
            'max_attempts', max_attempts, 'after', after, 'tags', tags),
        session_user);
    PERFORM scriptorium.wake_brokers();
    RETURN stored;
END
$$;
COMMENT ON FUNCTION scriptorium.submit(text, jsonb, text, integer, text, timestamptz, double precision, integer, uuid[], jsonb) IS
    'Publishes a task within the caller''s transaction and returns its id; what is wrong with it ends it failed, with the error';

CREATE FUNCTION scriptorium.submit_many(tasks jsonb) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, scriptorium, pg_temp
    SET TimeZone = 'UTC'
AS $$
DECLARE
    ids uuid[] := '{}';
    item record;
BEGIN
    IF jsonb_typeof(tasks) IS DISTINCT FROM 'array' OR jsonb_array_length(tasks) NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'tasks must be a JSON list of 1 to 10000 tasks' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Ids ascend as the tasks do, so that those of one priority run in their order.
    FOR place IN 1 .. jsonb_array_length(tasks) LOOP
        ids[place] := scriptorium.uuid_v7();
    END LOOP;
    -- Keys are taken in one order everywhere: two such calls cannot wait for each other.
    FOR item IN
        SELECT t.task, t.place FROM jsonb_array_elements(tasks) WITH ORDINALITY t (task, place)
        ORDER BY coalesce(t.task ->> 'queue', 'default') COLLATE "C", t.task ->> 'key' COLLATE "C", t.place
    LOOP
        IF jsonb_typeof(item.task) <> 'object' THEN
            RAISE EXCEPTION 'tasks[%] must be a JSON object', item.place - 1 USING ERRCODE = 'invalid_parameter_value';
        END IF;
        ids[item.place] := scriptorium.publish(ids[item.place], item.task, session_user, format('tasks[%s].', item.place - 1));
    END LOOP;
    PERFORM scriptorium.wake_brokers();
    RETURN QUERY SELECT u.id FROM unnest(ids) WITH ORDINALITY u (id, place) ORDER BY u.place;
END
$$;
COMMENT ON FUNCTION scriptorium.submit_many(jsonb) IS
    'Publishes a list of tasks, written as over ZeroMQ, within the caller''s transaction: all or none; returns their ids in order';

CREATE FUNCTION scriptorium.cancel(id uuid) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    lease uuid;
    state text;
BEGIN
    SELECT h.lease INTO lease FROM scriptorium.hot h WHERE h.task = id FOR UPDATE;
    IF NOT FOUND THEN
        SELECT o.state INTO state FROM scriptorium.outcome o WHERE o.task = id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no task %', id USING ERRCODE = 'no_data_found';
        END IF;
        RETURN state;
    ELSIF lease IS NULL THEN
        WITH gone AS (
            DELETE FROM scriptorium.hot h WHERE h.task = id RETURNING h.*
        ), waited AS (
            DELETE FROM scriptorium.task_after a WHERE a.child = id
        )
        INSERT INTO scriptorium.outcome (task, created_at, finished_at, attempt, failures, losses, state)
        SELECT g.task, g.created_at, clock_timestamp(), g.attempt, g.failures, g.losses, 'cancelled' FROM gone g;
        -- Those that wait for it are looked at by the next broker, which ends them.
        UPDATE scriptorium.hot h SET blocked = 'c'
        WHERE h.task IN (SELECT a.child FROM scriptorium.task_after a WHERE a.parent = id) AND h.blocked = 'a';
        state := 'cancelled';
    ELSE
        UPDATE scriptorium.hot h SET cancel_requested = true WHERE h.task = id AND NOT h.cancel_requested;
        state := 'running';
    END IF;
    PERFORM scriptorium.wake_brokers();
    RETURN state;
END
$$;
COMMENT ON FUNCTION scriptorium.cancel(uuid) IS
    'Cancels a task: a waiting one at once, a running one at its next token or step; returns its state';

-- Settings of queues, for the owner and for brokers. What runs goes on running; what is to be started follows at once, or with each broker's next look.

CREATE FUNCTION scriptorium.pause_queue(name text) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
BEGIN ATOMIC
    INSERT INTO scriptorium.queues AS q (name, paused) VALUES (pause_queue.name, true) ON CONFLICT (name) DO UPDATE SET paused = true;
END;
COMMENT ON FUNCTION scriptorium.pause_queue(text) IS 'Starts nothing more of a queue until resume_queue()';

CREATE FUNCTION scriptorium.resume_queue(name text) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
BEGIN ATOMIC
    UPDATE scriptorium.queues q SET paused = false WHERE q.name = resume_queue.name;
    SELECT scriptorium.wake_brokers();
END;
COMMENT ON FUNCTION scriptorium.resume_queue(text) IS 'Lets a paused queue go on';

CREATE FUNCTION scriptorium.limit_queue(name text, max_running integer) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
BEGIN ATOMIC
    INSERT INTO scriptorium.queues AS q (name, max_running) VALUES (limit_queue.name, limit_queue.max_running)
        ON CONFLICT (name) DO UPDATE SET max_running = limit_queue.max_running;
    SELECT scriptorium.wake_brokers();
END;
COMMENT ON FUNCTION scriptorium.limit_queue(text, integer) IS 'Lets at most so many tasks of a queue run at once; null takes the limit away';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA scriptorium FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA scriptorium FROM PUBLIC;

GRANT SELECT ON
    scriptorium.tasks, scriptorium.generations, scriptorium.models, scriptorium.checkpoints, scriptorium.datasets, scriptorium.training_steps,
    scriptorium.attempts, scriptorium.queues, scriptorium.schedules, scriptorium.workers, scriptorium.brokers
    TO scriptorium_reader, scriptorium_broker;

GRANT EXECUTE ON FUNCTION
    scriptorium.submit(text, jsonb, text, integer, text, timestamptz, double precision, integer, uuid[], jsonb),
    scriptorium.submit_many(jsonb), scriptorium.cancel(uuid)
    TO scriptorium_publisher;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    scriptorium.task, scriptorium.task_given, scriptorium.resolutions, scriptorium.brokers, scriptorium.sessions, scriptorium.hot, scriptorium.outcome,
    scriptorium.tries, scriptorium.task_keys, scriptorium.task_after, scriptorium.task_progress, scriptorium.task_resume, scriptorium.queues,
    scriptorium.schedules, scriptorium.schedule_ticks, scriptorium.checkpoints, scriptorium.models, scriptorium.datasets,
    scriptorium.training_steps, scriptorium.generations, scriptorium.retention
    TO scriptorium_broker;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA scriptorium TO scriptorium_broker;
GRANT EXECUTE ON FUNCTION scriptorium.uuid_time(uuid), scriptorium.uuid_floor(timestamptz) TO scriptorium_reader;

-- Made by `scriptorium migrate` itself; a broker compares it with what it knows.
DO $$
BEGIN
    IF to_regclass('scriptorium.migrations') IS NOT NULL THEN
        GRANT SELECT ON scriptorium.migrations TO scriptorium_broker;
    END IF;
END
$$;

-- A role's settings hold for those who log in as it, not for its members: their own logins need the same (see the documentation). Whoever migrates may
-- lack the right to set it.
DO $$
BEGIN
    EXECUTE format('ALTER ROLE scriptorium_reader IN DATABASE %I SET statement_timeout = %L', current_database(), '5min');
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END
$$;
