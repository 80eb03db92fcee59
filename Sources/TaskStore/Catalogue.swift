internal import TaskProtocol

/// Models and datasets by name.
extension StoreSession {
    private static let listModels = Statement(
        "list_models",
        """
        SELECT m.name, c.id, c.sha256, m.architecture, m.parameters, m.context_length, c.uri
        FROM models m CROSS JOIN LATERAL (SELECT * FROM checkpoints WHERE checkpoints.id = m.checkpoint_id OFFSET 0) c
        WHERE $1::text IS NULL OR m.name = $1::text
        ORDER BY m.name
        """)

    func models(named name: String? = nil) throws(StoreError) -> [ModelRow] {
        let rows = try connection.run(Self.listModels, [.text(name)])
        var found: [ModelRow] = []
        for row in rows.indices {
            found.append(
                ModelRow(
                    name: try rows.requireString(row, 0), checkpoint: try rows.requireUUID(row, 1), sha256: try rows.requireString(row, 2),
                    uri: try rows.requireString(row, 6), architecture: try rows.requireString(row, 3), parameters: try rows.requireInt(row, 4),
                    contextLength: Int(try rows.requireInt(row, 5))))
        }
        return found
    }

    /// What references to models mean now, as pinning would find it.
    func resolve(_ references: [String]) throws(StoreError) -> [Result<ResolvedModel, ContractError>] {
        let resolver = try ReferenceResolver(connection, models: references)
        return references.map { reference in Result { () throws(ContractError) in try resolver.model(reference, field: "model") } }
    }

    private static let listDatasets = Statement(
        "list_datasets",
        """
        SELECT name, uri, sha256, bytes, tokens, block_size, line_by_line, tokenizer_sha256,
            floor(extract(epoch FROM created_at) * 1000)::bigint
        FROM datasets WHERE $1::text IS NULL OR name = $1::text ORDER BY name
        """)

    func datasets(named name: String? = nil) throws(StoreError) -> [DatasetRow] {
        let rows = try connection.run(Self.listDatasets, [.text(name)])
        var found: [DatasetRow] = []
        for row in rows.indices {
            found.append(
                DatasetRow(
                    name: try rows.requireString(row, 0), uri: try rows.requireString(row, 1), sha256: try rows.requireString(row, 2),
                    bytes: try rows.requireInt(row, 3), tokens: rows.int(row, 4), blockSize: rows.int(row, 5).map(Int.init),
                    lineByLine: try rows.bool(row, 6), tokenizerSHA256: rows.string(row, 7), createdMilliseconds: try rows.requireInt(row, 8)))
        }
        return found
    }

    /// The rule for names (contract.md): letters, digits, `.`, `_`, `-`, at most 100, and no UUID.
    static func isValidName(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (1...100).contains(bytes.count), UUIDValue(name) == nil else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) }
        return isAlphanumeric(bytes[0]) && bytes.allSatisfy { isAlphanumeric($0) || $0 == 45 || $0 == 46 || $0 == 95 }
    }

    static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }

    private static func refuseName(_ field: String) -> StoreReply {
        .refused(
            ContractError(
                .invalidArgument, "a name has 1 to 100 letters, digits, dots, underscores or hyphens, begins with a letter or digit, and is no UUID",
                field: field))
    }

    private static func refuseDigest(_ field: String) -> StoreReply {
        .refused(ContractError(.invalidArgument, "a digest has 64 hexadecimal digits in lower case", field: field))
    }

    private static let fileImport = Statement(
        "file_import",
        """
        WITH known AS MATERIALIZED (
            SELECT c.id FROM checkpoints c
            WHERE c.sha256 = $4::text AND c.model = $2::text AND c.uri = 'sha256:' || $3::text AND c.step = 0
                AND c.tokenizer_sha256 IS NOT DISTINCT FROM $7::text AND c.line_by_line = $11::bool
            ORDER BY c.created_at LIMIT 1
        ), made AS (
            INSERT INTO checkpoints (
                id, model, step, uri, sha256, bytes, config, created_at, tokenizer_sha256, architecture, parameters, context_length, line_by_line
            )
            SELECT $1::uuid, $2::text, 0, 'sha256:' || $3::text, $4::text, $5::bigint, $6::text::jsonb, now(), $7::text, $8::text, $9::bigint,
                $10::int, $11::bool
            WHERE NOT EXISTS (SELECT FROM known)
            ON CONFLICT (id) DO NOTHING
        )
        SELECT coalesce((SELECT known.id FROM known), $1::uuid)
        """)
    private static let nameModel = Statement(
        "name_model",
        """
        INSERT INTO models (name, checkpoint_id, architecture, parameters, context_length)
        VALUES ($1::text, $2::uuid, $3::text, $4::bigint, $5::int)
        ON CONFLICT (name) DO UPDATE SET
            checkpoint_id = excluded.checkpoint_id, architecture = excluded.architecture, parameters = excluded.parameters,
            context_length = excluded.context_length, updated_at = now()
        """)

    func registerModel(_ registration: ModelRegistration) throws(StoreError) -> StoreReply {
        guard Self.isValidName(registration.name) else { return Self.refuseName("model.name") }
        guard Self.isDigest(registration.manifest) else { return Self.refuseDigest("model.manifest") }
        guard Self.isDigest(registration.sha256) else { return Self.refuseDigest("model.sha256") }
        return try connection.transaction { () throws(StoreError) in
            let filed = try connection.run(
                Self.fileImport,
                [
                    .uuid(registration.checkpointID), .text(registration.name), .text(registration.manifest), .text(registration.sha256),
                    .int(registration.bytes), .bytes(registration.config), .text(registration.tokenizerSHA256), .text(registration.architecture),
                    .int(registration.parameters), .int32(registration.contextLength), .bool(registration.lineByLine),
                ])
            _ = try connection.run(
                Self.nameModel,
                [
                    .text(registration.name), .uuid(try filed.requireUUID(0, 0)), .text(registration.architecture), .int(registration.parameters),
                    .int32(registration.contextLength),
                ])
            return .models(try models(named: registration.name))
        }
    }

    private static let nameDataset = Statement(
        "name_dataset",
        """
        INSERT INTO datasets (name, uri, sha256, bytes, tokens, block_size, line_by_line, tokenizer_sha256)
        VALUES ($1::text, 'sha256:' || $2::text, $2::text, $3::bigint, $4::bigint, $5::int, $6::bool, $7::text)
        ON CONFLICT (name) DO UPDATE SET
            uri = excluded.uri, sha256 = excluded.sha256, bytes = excluded.bytes, tokens = excluded.tokens, block_size = excluded.block_size,
            line_by_line = excluded.line_by_line, tokenizer_sha256 = excluded.tokenizer_sha256, created_at = now()
        """)

    func registerDataset(_ registration: DatasetRegistration) throws(StoreError) -> StoreReply {
        guard Self.isValidName(registration.name) else { return Self.refuseName("dataset.name") }
        guard Self.isDigest(registration.manifest) else { return Self.refuseDigest("dataset.manifest") }
        return try connection.transaction { () throws(StoreError) in
            _ = try connection.run(
                Self.nameDataset,
                [
                    .text(registration.name), .text(registration.manifest), .int(registration.bytes), .int(registration.tokens),
                    .int32(registration.blockSize), .bool(registration.lineByLine), .text(registration.tokenizerSHA256),
                ])
            return .datasets(try datasets(named: registration.name))
        }
    }
}
