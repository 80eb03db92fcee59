import CKernels
package import Kernels

/// Runs a model over many sequences at once: prefill chunks and single tokens in any mix, one pass a step.
///
///     let text = try session.makeSequence()
///     session.begin()
///     let row = try session.append([15496, 11], to: text, logits: .last)
///     session.run()
///     session.logits(row)        // vocabularySize floats, valid until the next begin()
///
/// No result depends on what else is in the step, on how a text is divided into chunks, on threads or on the
/// instruction set. A step allocates nothing but key-value pages, and those before it runs. Not Sendable: it belongs to
/// one thread at a time, as its pool does.
package final class InferenceSession {
    package let model: LanguageModel
    package let pool: ThreadPool
    /// Rows that one step may have.
    package let maximumRows: Int
    /// Rows of one step that may ask for logits.
    package let maximumLogitRows: Int
    let plan: ModelPlan
    let workspace: Workspace
    let sequences: SequenceTable
    private let pages: KeyValuePool
    var rowCount = 0
    var segmentCount = 0
    var pieceCount = 0
    var logitRowCount = 0

    /// Which positions of a chunk want logits.
    package enum LogitsWanted: Sendable { case none, last, all }

    /// - Parameters:
    ///   - pool: with the instruction set that the model was packed for.
    ///   - maximumSequences: sequences alive at a time.
    ///   - maximumPages: pages of 64 positions alive at a time; nil: as many as the sequences can fill.
    package init(
        model: LanguageModel, pool: ThreadPool, maximumRows: Int = 256, maximumLogitRows: Int = 64, maximumSequences: Int = 64,
        maximumPages: Int? = nil
    ) {
        self.model = model
        self.pool = pool
        self.maximumRows = maximumRows
        self.maximumLogitRows = maximumLogitRows
        plan = ModelPlan(model, pool: pool)
        workspace = Workspace(model.description, precision: model.precision, rows: maximumRows, logitRows: maximumLogitRows)
        let most = maximumSequences * SequenceTable.pageCount(model.description.contextLength)
        pages = KeyValuePool(description: model.description, isNarrow: model.precision.hasNarrowKeys, limit: maximumPages ?? most)
        sequences = SequenceTable(capacity: maximumSequences, contextLength: model.description.contextLength, pool: pages)
    }

    /// Bytes of a page of 64 positions of a model.
    package static func pageByteCount(_ model: LanguageModel) -> Int {
        let description = model.description
        let floats = ck_page_floats(description.heads, description.headWidth, model.precision.hasNarrowKeys)
        return floats * description.layers * MemoryLayout<Float>.stride
    }
    /// Pages in use.
    package var usedPages: Int { pages.usedCount }
    /// Pages that hold this many positions.
    package static func pageCount(positions: Int) -> Int { SequenceTable.pageCount(positions) }

    // MARK: Sequences

    /// A new, empty sequence.
    package func makeSequence() throws(ModelError) -> SequenceID {
        guard let id = sequences.make() else { throw .sessionFull("sequences") }
        return id
    }

    /// A sequence that continues the first `length` positions of another and shares their pages; the last, partly
    /// filled one is copied when either writes to it.
    package func fork(_ parent: SequenceID, length: Int) throws(ModelError) -> SequenceID {
        guard let id = sequences.fork(parent, length: length) else { throw .sessionFull("sequences") }
        return id
    }

    /// Forgets the positions from `length` on.
    package func truncate(_ id: SequenceID, to length: Int) { sequences.truncate(id, to: length) }

    /// Gives a sequence and its pages back; its id means nothing from then on.
    package func release(_ id: SequenceID) { sequences.release(id) }

    /// Cached positions of a sequence.
    package func length(of id: SequenceID) -> Int { sequences.length(id) }

    // MARK: A step

    /// Begins to gather a step.
    package func begin() {
        rowCount = 0
        segmentCount = 0
        pieceCount = 0
        logitRowCount = 0
    }

    /// Adds tokens that follow a sequence's cached ones. A sequence may be added to once a step.
    /// - Returns: the row of ``logits(_:)`` of the first position that wants them (`.all`: the others follow it).
    @discardableResult
    package func append(_ tokens: some Collection<Int32>, to id: SequenceID, logits: LogitsWanted) throws(ModelError) -> Int {
        let count = tokens.count
        let start = sequences.length(id)
        let wanted = logits == .all ? count : logits == .last ? 1 : 0
        guard start + count <= model.description.contextLength else {
            throw .contextExceeded(tokens: start + count, context: model.description.contextLength)
        }
        guard rowCount + count <= maximumRows else { throw .sessionFull("rows") }
        guard logitRowCount + wanted <= maximumLogitRows else { throw .sessionFull("logits") }
        let rows = Int32(model.description.vocabularySize)
        for token in tokens where token < 0 || token >= rows { throw .unknownToken(token, rows: Int(rows)) }
        guard sequences.extend(id, by: count) else { throw .sessionFull("key-value pages") }
        var place = start
        for token in tokens {
            workspace.tokens[rowCount + place - start] = token
            workspace.places[rowCount + place - start] = Int32(place)
            place += 1
        }
        for row in (rowCount + count - wanted)..<(rowCount + count) {
            workspace.logitRows[logitRowCount + row - (rowCount + count - wanted)] = Int32(row)
        }
        workspace.segments[segmentCount] = Segment(
            pages: sequences.table(id), firstRow: rowCount, rows: count, firstPosition: start, logitRows: wanted)
        addPieces(of: workspace.segments[segmentCount])
        defer {
            rowCount += count
            segmentCount += 1
            logitRowCount += wanted
        }
        return logitRowCount
    }

    private func addPieces(of segment: Segment) {
        for offset in stride(from: 0, to: segment.rows, by: Int(CK_PAGE_POSITIONS)) {
            workspace.pieces[pieceCount] = Segment(
                pages: segment.pages, firstRow: segment.firstRow + offset, rows: min(Int(CK_PAGE_POSITIONS), segment.rows - offset),
                firstPosition: segment.firstPosition + offset, logitRows: 0)
            pieceCount += 1
        }
    }

    /// Rows gathered so far.
    package var rowsGathered: Int { rowCount }

    /// The logits of a row, `vocabularySize` of them, which may be overwritten; valid until the next ``begin()``.
    package func logits(_ row: Int) -> UnsafeMutablePointer<Float> {
        workspace.logits + row * model.description.vocabularySize
    }

    /// The position in its text of a row of logits.
    package func position(_ row: Int) -> Int { Int(workspace.places[Int(workspace.logitRows[row])]) }
}
