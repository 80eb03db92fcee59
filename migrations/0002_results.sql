-- What tasks leave behind: texts, models, checkpoints, training steps; and the datasets they read.

CREATE TABLE scriptorium.checkpoints (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    step integer NOT NULL,
    parent_id uuid,
    task_id uuid,
    uri text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes bigint NOT NULL,
    config jsonb NOT NULL,
    loss double precision,
    average_loss double precision,
    created_at timestamptz NOT NULL,
    tokenizer_sha256 text,
    architecture text NOT NULL,
    parameters bigint NOT NULL,
    context_length integer NOT NULL,
    line_by_line boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE scriptorium.checkpoints IS 'One row a saved state of a model';
COMMENT ON COLUMN scriptorium.checkpoints.id IS 'Version-7 id';
COMMENT ON COLUMN scriptorium.checkpoints.model IS 'The name it was filed under';
COMMENT ON COLUMN scriptorium.checkpoints.step IS 'The training step it was saved after; 0 for an imported model';
COMMENT ON COLUMN scriptorium.checkpoints.parent_id IS 'The checkpoint that its training began with';
COMMENT ON COLUMN scriptorium.checkpoints.task_id IS 'The finetune that made it';
COMMENT ON COLUMN scriptorium.checkpoints.uri IS 'sha256: and the digest of its files'' manifest';
COMMENT ON COLUMN scriptorium.checkpoints.sha256 IS 'The checkpoint digest: of architecture, config and tensors, whatever the file format';
COMMENT ON COLUMN scriptorium.checkpoints.bytes IS 'The size of its files';
COMMENT ON COLUMN scriptorium.checkpoints.config IS 'config.json';
COMMENT ON COLUMN scriptorium.checkpoints.loss IS 'The last step''s loss';
COMMENT ON COLUMN scriptorium.checkpoints.average_loss IS 'The smoothed loss';
COMMENT ON COLUMN scriptorium.checkpoints.created_at IS 'When it was filed';
COMMENT ON COLUMN scriptorium.checkpoints.tokenizer_sha256 IS 'The digest of its tokenizer';
COMMENT ON COLUMN scriptorium.checkpoints.architecture IS 'The description it follows, as gpt2';
COMMENT ON COLUMN scriptorium.checkpoints.parameters IS 'How many weights it has';
COMMENT ON COLUMN scriptorium.checkpoints.context_length IS 'How many positions it has';
COMMENT ON COLUMN scriptorium.checkpoints.line_by_line IS 'Whether its training data was one text a line';
CREATE INDEX checkpoints_model ON scriptorium.checkpoints (model, step, created_at);
CREATE INDEX checkpoints_sha256 ON scriptorium.checkpoints (sha256, created_at);
CREATE INDEX checkpoints_task ON scriptorium.checkpoints (task_id) WHERE task_id IS NOT NULL;

CREATE TABLE scriptorium.models (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    checkpoint_id uuid NOT NULL REFERENCES scriptorium.checkpoints (id),
    architecture text NOT NULL,
    parameters bigint NOT NULL,
    context_length integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (name !~ '^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$')
);
COMMENT ON TABLE scriptorium.models IS 'One row a model name';
COMMENT ON COLUMN scriptorium.models.name IS 'The name';
COMMENT ON COLUMN scriptorium.models.checkpoint_id IS 'What it means now';
COMMENT ON COLUMN scriptorium.models.architecture IS 'Of that checkpoint';
COMMENT ON COLUMN scriptorium.models.parameters IS 'Of that checkpoint';
COMMENT ON COLUMN scriptorium.models.context_length IS 'Of that checkpoint';
COMMENT ON COLUMN scriptorium.models.created_at IS 'When the name was first given';
COMMENT ON COLUMN scriptorium.models.updated_at IS 'When it was last moved';

CREATE TABLE scriptorium.datasets (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    uri text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes bigint NOT NULL,
    tokens bigint,
    block_size integer,
    line_by_line boolean NOT NULL DEFAULT false,
    tokenizer_sha256 text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (name !~ '^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$')
);
COMMENT ON TABLE scriptorium.datasets IS 'One row a dataset name';
COMMENT ON COLUMN scriptorium.datasets.name IS 'The name';
COMMENT ON COLUMN scriptorium.datasets.uri IS 'sha256: and the digest of its files'' manifest';
COMMENT ON COLUMN scriptorium.datasets.sha256 IS 'The digest of its files'' manifest';
COMMENT ON COLUMN scriptorium.datasets.bytes IS 'The size of its files';
COMMENT ON COLUMN scriptorium.datasets.tokens IS 'How many tokens it has, where it was encoded beforehand';
COMMENT ON COLUMN scriptorium.datasets.block_size IS 'The block it was encoded for';
COMMENT ON COLUMN scriptorium.datasets.line_by_line IS 'One text a line';
COMMENT ON COLUMN scriptorium.datasets.tokenizer_sha256 IS 'The tokenizer it was encoded with';
COMMENT ON COLUMN scriptorium.datasets.created_at IS 'When it was registered';

CREATE TABLE scriptorium.training_steps (
    task_id uuid NOT NULL,
    step integer NOT NULL,
    loss double precision,
    average_loss double precision,
    learning_rate double precision,
    grad_norm double precision,
    tokens_per_second double precision,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, step)
) PARTITION BY RANGE (task_id);
COMMENT ON TABLE scriptorium.training_steps IS 'One row a logged training step; a resumed run replaces the rows after its checkpoint';
COMMENT ON COLUMN scriptorium.training_steps.task_id IS 'The finetune';
COMMENT ON COLUMN scriptorium.training_steps.step IS 'The step, from 1';
COMMENT ON COLUMN scriptorium.training_steps.loss IS 'Its loss';
COMMENT ON COLUMN scriptorium.training_steps.average_loss IS 'The smoothed loss';
COMMENT ON COLUMN scriptorium.training_steps.learning_rate IS 'The rate it was made with';
COMMENT ON COLUMN scriptorium.training_steps.grad_norm IS 'The gradient''s norm before clipping';
COMMENT ON COLUMN scriptorium.training_steps.tokens_per_second IS 'Its speed';
COMMENT ON COLUMN scriptorium.training_steps.at IS 'When it was recorded';

CREATE FUNCTION scriptorium.search_vector(body text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(body) <= 100000 THEN
        RETURN to_tsvector('simple', body);
    END IF;
    -- A tsvector over 1 MB is an error; a text must never be refused for its index.
    BEGIN
        RETURN to_tsvector('simple', left(body, 100000));
    EXCEPTION WHEN program_limit_exceeded THEN
        RETURN to_tsvector('simple', left(body, 10000));
    END;
END
$$;
COMMENT ON FUNCTION scriptorium.search_vector(text) IS 'The words of a text''s first 100,000 characters';

CREATE TABLE scriptorium.generations (
    id uuid NOT NULL,
    task_id uuid NOT NULL,
    sample integer NOT NULL,
    prompt_index integer NOT NULL,
    draw integer NOT NULL,
    attempt integer NOT NULL,
    model text NOT NULL,
    checkpoint_id uuid,
    checkpoint_sha256 text NOT NULL,
    tokenizer_sha256 text,
    prompt text NOT NULL,
    text text NOT NULL,
    schema jsonb,
    seed bigint NOT NULL,
    seed_assigned boolean NOT NULL,
    rng text NOT NULL,
    numerics text NOT NULL,
    params jsonb NOT NULL,
    precision text NOT NULL,
    prompt_token_ids integer[] NOT NULL,
    token_ids integer[] NOT NULL,
    prompt_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    finish_reason text NOT NULL,
    mean_logprob double precision,
    logprobs jsonb,
    worker uuid,
    tags jsonb,
    record_sha256 text,
    signature text,
    created_at timestamptz NOT NULL,
    text_search tsvector GENERATED ALWAYS AS (scriptorium.search_vector(text)) STORED,
    redrawn integer,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE scriptorium.generations IS 'One row a generated text, partitioned by the month of its id';
COMMENT ON COLUMN scriptorium.generations.id IS 'Version-7 id';
COMMENT ON COLUMN scriptorium.generations.task_id IS 'The task that asked for it';
COMMENT ON COLUMN scriptorium.generations.sample IS 'Its number within the task';
COMMENT ON COLUMN scriptorium.generations.prompt_index IS 'Which of the task''s prompts';
COMMENT ON COLUMN scriptorium.generations.draw IS '0, or the number of the redraw that was kept';
COMMENT ON COLUMN scriptorium.generations.attempt IS 'The start of the task that recorded it';
COMMENT ON COLUMN scriptorium.generations.model IS 'The model as the task names it';
COMMENT ON COLUMN scriptorium.generations.checkpoint_id IS 'The checkpoint that was pinned';
COMMENT ON COLUMN scriptorium.generations.checkpoint_sha256 IS 'Its digest';
COMMENT ON COLUMN scriptorium.generations.tokenizer_sha256 IS 'The tokenizer''s digest';
COMMENT ON COLUMN scriptorium.generations.prompt IS 'The prompt';
COMMENT ON COLUMN scriptorium.generations.text IS 'The text as it was returned';
COMMENT ON COLUMN scriptorium.generations.schema IS 'Its fields, where a schema was asked for';
COMMENT ON COLUMN scriptorium.generations.seed IS 'The seed';
COMMENT ON COLUMN scriptorium.generations.seed_assigned IS 'Whether the service drew the seed';
COMMENT ON COLUMN scriptorium.generations.rng IS 'The random number generator';
COMMENT ON COLUMN scriptorium.generations.numerics IS 'The version of the arithmetic';
COMMENT ON COLUMN scriptorium.generations.params IS 'Every effective value';
COMMENT ON COLUMN scriptorium.generations.precision IS 'The precision of the weights';
COMMENT ON COLUMN scriptorium.generations.prompt_token_ids IS 'The prompt''s tokens';
COMMENT ON COLUMN scriptorium.generations.token_ids IS 'The generated tokens';
COMMENT ON COLUMN scriptorium.generations.prompt_tokens IS 'How many tokens the prompt has';
COMMENT ON COLUMN scriptorium.generations.completion_tokens IS 'How many tokens were generated';
COMMENT ON COLUMN scriptorium.generations.finish_reason IS 'eos, length or stop';
COMMENT ON COLUMN scriptorium.generations.mean_logprob IS 'Mean log-probability of the generated tokens, before processors and temperature';
COMMENT ON COLUMN scriptorium.generations.logprobs IS 'Log-probabilities by token, where asked for';
COMMENT ON COLUMN scriptorium.generations.worker IS 'The session that generated it';
COMMENT ON COLUMN scriptorium.generations.tags IS 'The task''s tags';
COMMENT ON COLUMN scriptorium.generations.record_sha256 IS 'The digest of its proof record';
COMMENT ON COLUMN scriptorium.generations.signature IS 'Who vouches for the proof record';
COMMENT ON COLUMN scriptorium.generations.created_at IS 'The id''s time';
COMMENT ON COLUMN scriptorium.generations.text_search IS 'The words of the first 100,000 characters';
COMMENT ON COLUMN scriptorium.generations.redrawn IS 'How often it was drawn again, where even the last draw was empty or a double';
CREATE INDEX generations_task ON scriptorium.generations (task_id);
CREATE INDEX generations_model ON scriptorium.generations (model, created_at);
CREATE INDEX generations_seed ON scriptorium.generations (seed);
CREATE INDEX generations_created ON scriptorium.generations USING brin (created_at);
CREATE INDEX generations_tags ON scriptorium.generations USING gin (tags jsonb_path_ops) WHERE tags IS NOT NULL;
CREATE INDEX generations_text_search ON scriptorium.generations USING gin (text_search);

CREATE FUNCTION scriptorium.make_partitions(since timestamptz, months integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, scriptorium, pg_temp
    SET lock_timeout = '2s'
AS $$
DECLARE
    first timestamp := date_trunc('month', since AT TIME ZONE 'UTC');
    start timestamptz;
    stop timestamptz;
    parent text;
    name text;
    made integer := 0;
BEGIN
    IF months NOT BETWEEN 1 AND 36 OR since NOT BETWEEN now() - interval '5 years' AND now() + interval '5 years' THEN
        RAISE EXCEPTION 'partitions are made for 1 to 36 months within five years of now' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('scriptorium.partitions', 0));
    FOR month IN 0 .. months - 1 LOOP
        start := (first + month * interval '1 month') AT TIME ZONE 'UTC';
        stop := (first + (month + 1) * interval '1 month') AT TIME ZONE 'UTC';
        FOREACH parent IN ARRAY ARRAY['task', 'resolutions', 'outcome', 'tries', 'training_steps', 'generations'] LOOP
            name := parent || to_char(first + month * interval '1 month', '"_"YYYY"_"MM');
            CONTINUE WHEN to_regclass('scriptorium.' || name) IS NOT NULL;
            -- Made apart and then attached: ATTACH lets readers and writers of the other months go on.
            EXECUTE format('CREATE TABLE scriptorium.%I (LIKE scriptorium.%I INCLUDING ALL)', name, parent);
            IF parent IN ('task', 'outcome', 'generations') THEN
                -- Lets readers by time skip whole months.
                EXECUTE format('ALTER TABLE scriptorium.%I ADD CHECK (created_at >= %L AND created_at < %L)', name, start, stop);
            END IF;
            IF parent = 'generations' THEN
                EXECUTE format('ALTER TABLE scriptorium.%I ADD CHECK (created_at = scriptorium.uuid_time(id))', name);
            END IF;
            EXECUTE format('COMMENT ON TABLE scriptorium.%I IS %L', name, parent || ' of ' || to_char(start AT TIME ZONE 'UTC', 'YYYY-MM') || ' (UTC)');
            EXECUTE format(
                'ALTER TABLE scriptorium.%I ATTACH PARTITION scriptorium.%I FOR VALUES FROM (%L) TO (%L)',
                parent, name, scriptorium.uuid_floor(start), scriptorium.uuid_floor(stop));
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION scriptorium.make_partitions(timestamptz, integer) IS
    'Makes the monthly partitions that are missing, from the month of a moment on; returns how many';
DO $$ BEGIN PERFORM scriptorium.make_partitions(now() - interval '1 day', 4); END $$;

-- Retention. Only an owner drops a partition, so brokers do it through drop_month(). A month goes whole, and only where nothing holds it: month_holder()
-- says what does. DROP needs the parents for itself, and whoever comes later waits behind it: it asks for 200 ms at a time (which is also less than a
-- deadlock takes to be found, so that no other transaction falls for it), and gives up where somebody reads for longer. Brokers come again.

CREATE TABLE scriptorium.retention (
    history text PRIMARY KEY CHECK (history IN ('tasks', 'generations')),
    keep interval NOT NULL CHECK (keep > interval '0'),
    looked_at timestamptz NOT NULL
);
COMMENT ON TABLE scriptorium.retention IS 'What brokers are told to keep, as the last that looked was told';
COMMENT ON COLUMN scriptorium.retention.history IS 'tasks or generations';
COMMENT ON COLUMN scriptorium.retention.keep IS 'Months that ended before so long ago go';
COMMENT ON COLUMN scriptorium.retention.looked_at IS 'When a broker last looked for such months and was kept from nothing';

CREATE FUNCTION scriptorium.history_tables(history text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE history
        WHEN 'tasks' THEN ARRAY['task', 'resolutions', 'outcome', 'tries', 'training_steps']
        WHEN 'generations' THEN ARRAY['generations']
    END;
COMMENT ON FUNCTION scriptorium.history_tables(text) IS 'The partitioned tables whose months go together';

CREATE FUNCTION scriptorium.month_holder(history text, month date, OUT task uuid, OUT state text, OUT child uuid)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = on SET enable_hashjoin = on SET enable_mergejoin = on SET enable_bitmapscan = on
AS $$
#variable_conflict use_column
DECLARE
    first uuid := scriptorium.uuid_floor(month::timestamp AT TIME ZONE 'UTC');
    stop uuid := scriptorium.uuid_floor((month + interval '1 month') AT TIME ZONE 'UTC');
    -- A clock that was set back gives texts ids before their task's.
    last_task uuid := scriptorium.uuid_floor((month + interval '1 month 1 day') AT TIME ZONE 'UTC');
BEGIN
    IF history = 'tasks' THEN
        SELECT h.task, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END INTO month_holder.task, month_holder.state
        FROM scriptorium.hot h WHERE h.task >= first AND h.task < stop ORDER BY h.task LIMIT 1;
        IF FOUND THEN RETURN; END IF;
        SELECT u.id, t.id INTO month_holder.task, month_holder.child
        FROM scriptorium.task t JOIN scriptorium.hot h ON h.task = t.id CROSS JOIN unnest(t.after) u (id)
        WHERE t.after IS NOT NULL AND u.id >= first AND u.id < stop LIMIT 1;
    ELSE
        SELECT h.task, CASE WHEN h.lease IS NULL THEN 'queued' ELSE 'running' END INTO month_holder.task, month_holder.state
        FROM scriptorium.hot h
        WHERE h.task < last_task AND EXISTS (SELECT FROM scriptorium.generations g WHERE g.task_id = h.task AND g.id >= first AND g.id < stop) LIMIT 1;
        IF FOUND THEN RETURN; END IF;
        SELECT u.id, t.id INTO month_holder.task, month_holder.child
        FROM scriptorium.task t JOIN scriptorium.hot h ON h.task = t.id CROSS JOIN unnest(t.after) u (id)
        WHERE t.after IS NOT NULL AND u.id < last_task
            AND EXISTS (SELECT FROM scriptorium.generations g WHERE g.task_id = u.id AND g.id >= first AND g.id < stop) LIMIT 1;
    END IF;
END
$$;
COMMENT ON FUNCTION scriptorium.month_holder(text, date) IS
    'A task that keeps a month from being dropped: one of it that waits or runs, or one that a waiting or running child names in its after';

CREATE FUNCTION scriptorium.expired_months(history text, keep interval)
    RETURNS TABLE (month date, task uuid, state text, child uuid)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
AS $$
    SELECT m.month, h.task, h.state, h.child
    FROM (
        SELECT DISTINCT to_date(right(c.relname, 7), 'YYYY_MM') AS month
        FROM unnest(scriptorium.history_tables($1)) p
        JOIN pg_inherits i ON i.inhparent = to_regclass('scriptorium.' || p) JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relname ~ '_[0-9]{4}_[0-9]{2}$'
    ) m
    CROSS JOIN LATERAL scriptorium.month_holder($1, m.month) h
    WHERE (m.month + interval '1 month') AT TIME ZONE 'UTC' <= now() - $2
    ORDER BY m.month
$$;
COMMENT ON FUNCTION scriptorium.expired_months(text, interval) IS
    'The months that ended longer ago than they are kept; with the task, its state or the child that names it, where one holds the month back';

CREATE FUNCTION scriptorium.drop_month(history text, month date, keep interval) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, scriptorium, pg_temp
    SET lock_timeout = '200ms'
AS $$
DECLARE
    suffix text := to_char(month, '"_"YYYY"_"MM');
    parents text[] := scriptorium.history_tables(history);
    partitions text[] := ARRAY(SELECT p || suffix FROM unnest(parents) p WHERE to_regclass('scriptorium.' || p || suffix) IS NOT NULL);
    name text;
    is_locked boolean := false;
BEGIN
    IF parents IS NULL OR keep <= interval '0' OR month <> date_trunc('month', month)
        OR (month + interval '1 month') AT TIME ZONE 'UTC' > now() - keep
    THEN
        RAISE EXCEPTION 'this month is not over for long enough' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR attempt IN 1 .. 5 LOOP
        BEGIN
            FOREACH name IN ARRAY parents || partitions LOOP
                EXECUTE format('LOCK TABLE ONLY scriptorium.%I IN ACCESS EXCLUSIVE MODE', name);
            END LOOP;
            is_locked := true;
        EXCEPTION WHEN lock_not_available THEN
            -- What was locked is free again: those behind it go first.
            PERFORM pg_sleep(0.05);
        END;
        EXIT WHEN is_locked;
    END LOOP;
    IF NOT is_locked THEN
        RETURN 'busy';
    END IF;
    -- Whoever had read the month before is done now, and nobody reads it since: what this finds stays true.
    IF (SELECT h.task FROM scriptorium.month_holder(history, month) h) IS NOT NULL THEN
        RETURN 'held';
    END IF;
    FOREACH name IN ARRAY partitions LOOP
        EXECUTE format('DROP TABLE scriptorium.%I', name);
    END LOOP;
    RETURN 'dropped';
END
$$;
COMMENT ON FUNCTION scriptorium.drop_month(text, date, interval) IS
    'Drops a month of tasks (with resolutions, attempts and training steps) or generations that is over for longer than it is kept: '
    'dropped, held (see month_holder) or busy (somebody reads it)';

CREATE FUNCTION scriptorium.forget_dropped(most integer) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, scriptorium, pg_temp
    SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    name text;
    first uuid;
    stop timestamptz;
    past uuid;
    gone integer;
    total integer := 0;
BEGIN
    FOREACH name IN ARRAY ARRAY['task_keys', 'task_given', 'task_progress', 'task_resume'] LOOP
        past := scriptorium.uuid_floor(to_timestamp(0));
        LOOP
            EXECUTE format('SELECT task FROM scriptorium.%I WHERE task >= $1 AND task < $2 ORDER BY task LIMIT 1', name)
                INTO first USING past, scriptorium.uuid_floor(now());
            EXIT WHEN first IS NULL OR total >= most;
            stop := (date_trunc('month', scriptorium.uuid_time(first) AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
            past := scriptorium.uuid_floor(stop);
            -- Asked of the partition, not of its rows: months that stand are passed in one step.
            CONTINUE WHEN to_regclass('scriptorium.task' || to_char(stop AT TIME ZONE 'UTC' - interval '1 month', '"_"YYYY"_"MM')) IS NOT NULL;
            EXECUTE format(
                'DELETE FROM scriptorium.%1$I WHERE task = ANY (ARRAY('
                'SELECT task FROM scriptorium.%1$I WHERE task >= $1 AND task < $2 ORDER BY task LIMIT $3 FOR UPDATE SKIP LOCKED))', name)
                USING first, past, most - total;
            GET DIAGNOSTICS gone = ROW_COUNT;
            total := total + gone;
        END LOOP;
    END LOOP;
    RETURN total;
END
$$;
COMMENT ON FUNCTION scriptorium.forget_dropped(integer) IS
    'Deletes keys and side rows of tasks whose month is dropped, up to a number; a key that is left frees itself when it is used';
