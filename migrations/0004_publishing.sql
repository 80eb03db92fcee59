-- Publishing and cancelling in SQL, and who may do what.

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
AS $$
#variable_conflict use_variable
DECLARE
    -- Arguments keep the contract's names; these copies tell them from columns.
    a_queue text := coalesce(queue, 'default');
    a_priority integer := coalesce(priority, 0);
    a_max integer := coalesce(max_attempts, 3);
    a_params jsonb := jsonb_strip_nulls(params);
    a_tags jsonb := nullif(tags, 'null');
    a_after uuid[];
    a_seed bigint;
    a_seed_assigned boolean := false;
    a_id uuid := scriptorium.uuid_v7();
    a_created timestamptz := scriptorium.uuid_time(a_id);
    a_run_at timestamptz := coalesce(run_at, a_created);
    first_id uuid;
    same boolean;
    unknown uuid;
    waiting boolean := false;
BEGIN
    IF kind IS NULL OR octet_length(kind) NOT BETWEEN 1 AND 64 THEN
        RAISE EXCEPTION 'kind is one of generate, finetune, verify' USING ERRCODE = 'invalid_parameter_value';
    ELSIF params IS NULL OR jsonb_typeof(params) <> 'object' THEN
        RAISE EXCEPTION 'params is a JSON object' USING ERRCODE = 'invalid_parameter_value';
    ELSIF octet_length(params::text) > 16777216 THEN
        RAISE EXCEPTION 'params is larger than 16 MiB' USING ERRCODE = 'program_limit_exceeded';
    ELSIF octet_length(a_queue) NOT BETWEEN 1 AND 256 THEN
        RAISE EXCEPTION 'queue is a name of 1 to 256 bytes' USING ERRCODE = 'invalid_parameter_value';
    ELSIF a_priority NOT BETWEEN -100 AND 100 THEN
        RAISE EXCEPTION 'priority is from -100 to 100' USING ERRCODE = 'invalid_parameter_value';
    ELSIF a_max NOT BETWEEN 1 AND 100 THEN
        RAISE EXCEPTION 'max_attempts is from 1 to 100' USING ERRCODE = 'invalid_parameter_value';
    ELSIF octet_length(key) NOT BETWEEN 1 AND 256 THEN
        RAISE EXCEPTION 'key is a string of 1 to 256 bytes' USING ERRCODE = 'invalid_parameter_value';
    ELSIF NOT (timeout_s > 0 AND timeout_s < 'infinity') THEN
        RAISE EXCEPTION 'timeout_s is a number above 0' USING ERRCODE = 'invalid_parameter_value';
    ELSIF NOT (a_run_at BETWEEN '2000-01-01' AND '9999-01-01') THEN
        RAISE EXCEPTION 'run_at is a time before the year 9999' USING ERRCODE = 'invalid_parameter_value';
    ELSIF cardinality(after) > 100 THEN
        RAISE EXCEPTION 'after has up to 100 ids' USING ERRCODE = 'invalid_parameter_value';
    ELSIF a_tags IS NOT NULL AND (
        jsonb_typeof(a_tags) <> 'object'
        OR (SELECT count(*) > 32 OR bool_or(jsonb_typeof(t.value) <> 'string' OR octet_length(t.value #>> '{}') > 256 OR octet_length(t.key) > 256)
            FROM jsonb_each(a_tags) t)
    ) THEN
        RAISE EXCEPTION 'tags has up to 32 strings of up to 256 bytes by name' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF key IS NOT NULL THEN
        -- Waits for a transaction that holds the key; a rolled-back one leaves it to us.
        INSERT INTO scriptorium.task_keys AS k (queue, key, task) VALUES (a_queue, key, a_id) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT t.id, t.kind = kind AND jsonb_strip_nulls(CASE WHEN t.seed_assigned THEN t.params - 'seed' ELSE t.params END) = a_params
                INTO first_id, same
                FROM scriptorium.task_keys k JOIN scriptorium.task t ON t.id = k.task
                WHERE k.queue = a_queue AND k.key = key;
            IF first_id IS NULL OR NOT same THEN
                RAISE EXCEPTION 'this key was used for a task with another kind or other params' USING ERRCODE = 'unique_violation';
            END IF;
            RETURN first_id;
        END IF;
    END IF;

    SELECT array_agg(DISTINCT u ORDER BY u) INTO a_after FROM unnest(after) u WHERE u IS NOT NULL;
    IF a_after IS NOT NULL THEN
        -- Holds the ends of those it waits for until this transaction is decided, so that none slips between look and insert.
        PERFORM FROM scriptorium.hot h WHERE h.task = ANY (a_after) ORDER BY h.task FOR SHARE;
        SELECT u INTO unknown FROM unnest(a_after) u WHERE NOT EXISTS (SELECT FROM scriptorium.task t WHERE t.id = u) LIMIT 1;
        IF unknown IS NOT NULL THEN
            RAISE EXCEPTION 'after names a task that does not exist: %', unknown USING ERRCODE = 'no_data_found';
        END IF;
        SELECT EXISTS (
            SELECT FROM unnest(a_after) u
            WHERE NOT EXISTS (SELECT FROM scriptorium.outcome o WHERE o.task = u AND o.state = 'succeeded')
        ) INTO waiting;
    END IF;

    IF a_params ? 'seed' THEN
        IF jsonb_typeof(a_params -> 'seed') = 'number' AND (a_params ->> 'seed')::numeric BETWEEN 0 AND 9007199254740991 THEN
            a_seed := (a_params ->> 'seed')::numeric::bigint;
        END IF;
    ELSIF kind IN ('generate', 'finetune') THEN
        a_seed := 10000000 + floor(random() * 90000000)::bigint;
        a_seed_assigned := true;
        a_params := a_params || jsonb_build_object('seed', a_seed);
    END IF;

    INSERT INTO scriptorium.task (
        id, created_at, kind, queue, priority, max_attempts, seed_assigned, seed, timeout_s, run_at, key, client, params, tags, after
    ) VALUES (
        a_id, a_created, kind, a_queue, a_priority, a_max, a_seed_assigned, a_seed, timeout_s, a_run_at, key, session_user, a_params, a_tags, a_after
    );
    IF waiting THEN
        INSERT INTO scriptorium.task_after (parent, child) SELECT u, a_id FROM unnest(a_after) u;
    END IF;
    INSERT INTO scriptorium.hot (task, created_at, run_at, rank, queue, client, blocked)
    VALUES (
        a_id, a_created, a_run_at, floor(extract(epoch FROM a_run_at) * 1000)::bigint - a_priority * 60000, a_queue, session_user,
        CASE WHEN waiting THEN 'a' ELSE 'c' END
    );
    IF EXISTS (SELECT FROM scriptorium.brokers b WHERE b.idle) THEN
        PERFORM pg_notify('scriptorium', '');
    END IF;
    RETURN a_id;
END
$$;
COMMENT ON FUNCTION scriptorium.submit(text, jsonb, text, integer, text, timestamptz, double precision, integer, uuid[], jsonb) IS
    'Publishes a task within the caller''s transaction and returns its id';

CREATE FUNCTION scriptorium.cancel(id uuid) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    a_lease uuid;
    a_state text;
BEGIN
    SELECT h.lease INTO a_lease FROM scriptorium.hot h WHERE h.task = id FOR UPDATE;
    IF NOT FOUND THEN
        SELECT o.state INTO a_state FROM scriptorium.outcome o WHERE o.task = id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no task %', id USING ERRCODE = 'no_data_found';
        END IF;
        RETURN a_state;
    ELSIF a_lease IS NULL THEN
        WITH gone AS (
            DELETE FROM scriptorium.hot h WHERE h.task = id RETURNING h.*
        ), waited AS (
            DELETE FROM scriptorium.task_after a WHERE a.child = id
        )
        INSERT INTO scriptorium.outcome (task, created_at, finished_at, attempt, failures, losses, state)
        SELECT g.task, g.created_at, clock_timestamp(), g.attempt, g.failures, g.losses, 'cancelled' FROM gone g;
        a_state := 'cancelled';
    ELSE
        UPDATE scriptorium.hot h SET cancel_requested = true WHERE h.task = id AND NOT h.cancel_requested;
        a_state := 'running';
    END IF;
    IF EXISTS (SELECT FROM scriptorium.brokers b WHERE b.idle) THEN
        PERFORM pg_notify('scriptorium', '');
    END IF;
    RETURN a_state;
END
$$;
COMMENT ON FUNCTION scriptorium.cancel(uuid) IS
    'Cancels a task: a waiting one at once, a running one at its next token or step; returns its state';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA scriptorium FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA scriptorium FROM PUBLIC;

GRANT SELECT ON
    scriptorium.tasks, scriptorium.generations, scriptorium.models, scriptorium.checkpoints, scriptorium.datasets, scriptorium.training_steps,
    scriptorium.attempts, scriptorium.queues, scriptorium.schedules, scriptorium.workers, scriptorium.brokers
    TO scriptorium_reader, scriptorium_broker;

GRANT EXECUTE ON FUNCTION
    scriptorium.submit(text, jsonb, text, integer, text, timestamptz, double precision, integer, uuid[], jsonb),
    scriptorium.cancel(uuid)
    TO scriptorium_publisher, scriptorium_broker;

GRANT SELECT, INSERT, UPDATE, DELETE ON
    scriptorium.task, scriptorium.resolutions, scriptorium.brokers, scriptorium.sessions, scriptorium.hot, scriptorium.outcome,
    scriptorium.tries, scriptorium.task_keys, scriptorium.task_after, scriptorium.task_progress, scriptorium.task_resume, scriptorium.queues,
    scriptorium.schedules, scriptorium.checkpoints, scriptorium.models, scriptorium.datasets, scriptorium.training_steps, scriptorium.generations
    TO scriptorium_broker;
GRANT EXECUTE ON FUNCTION
    scriptorium.uuid_time(uuid), scriptorium.uuid_floor(timestamptz), scriptorium.uuid_v7(), scriptorium.search_vector(text),
    scriptorium.make_generation_partitions(timestamptz, integer)
    TO scriptorium_broker;
GRANT EXECUTE ON FUNCTION scriptorium.uuid_time(uuid), scriptorium.uuid_floor(timestamptz) TO scriptorium_reader;
