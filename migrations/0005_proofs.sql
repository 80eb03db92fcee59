-- What proves a stored text, in one document.

-- The members of the proof record, and what stands beside them: what `scriptorium verify` reads, and what a verify task is given. Whoever holds
-- the document and the model's files needs nothing else.
CREATE FUNCTION scriptorium.proof(generation scriptorium.generations) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'format', 'scriptorium/1', 'checkpoint_sha256', generation.checkpoint_sha256, 'tokenizer_sha256', generation.tokenizer_sha256,
    'numerics', generation.numerics, 'precision', generation.precision, 'rng', generation.rng, 'seed', generation.seed,
    'seed_assigned', generation.seed_assigned, 'params', generation.params, 'sample', generation.sample, 'prompt_index', generation.prompt_index,
    'draw', generation.draw, 'prompt', generation.prompt, 'prompt_token_ids', generation.prompt_token_ids, 'token_ids', generation.token_ids,
    'finish_reason', generation.finish_reason,
    'record_sha256', generation.record_sha256, 'signature', generation.signature, 'text', generation.text, 'schema', generation.schema,
    'logprobs', generation.logprobs, 'mean_logprob', generation.mean_logprob);
COMMENT ON FUNCTION scriptorium.proof(scriptorium.generations) IS 'The proof of a stored text: SELECT scriptorium.proof(g) FROM scriptorium.generations g';

GRANT EXECUTE ON FUNCTION scriptorium.proof(scriptorium.generations) TO scriptorium_reader, scriptorium_broker;
COMMENT ON COLUMN scriptorium.generations.signature IS 'Who vouches for the proof record: ed25519, the public key and the signature, with colons between them';
