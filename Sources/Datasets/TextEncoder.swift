import Tokenizers

/// Reads texts, encodes them and hands the tokens on in batches.
struct TextEncoder<Sink: TokenSink & ~Copyable>: ~Copyable {
    private static var batch: Int { 1 << 16 }
    /// Bytes of long lines after which it says how far it is.
    private static var longestSilence: Int { 4 << 20 }

    private let tokenizer: Tokenizer
    private let settings: DatasetSettings
    private let endToken: Int32
    private var sink: Sink
    private var ids: [Int32] = []
    private var doneBytes = 0
    private var totalBytes = 0

    /// - Throws: ``DatasetError/noEndToken`` where separate texts are wanted and the tokenizer has no end token.
    init(tokenizer: Tokenizer, settings: DatasetSettings, sink: consuming Sink) throws(DatasetError) {
        guard let end = settings.lineByLine ? tokenizer.endOfTextID : 0 else { throw .noEndToken }
        self.tokenizer = tokenizer
        self.settings = settings
        self.sink = sink
        endToken = Int32(end)
        ids.reserveCapacity(Self.batch * 2)
    }

    /// The sink, with all tokens in it. After ``encode(files:progress:)`` or the last text.
    consuming func finish() -> Sink { sink }

    mutating func encode(text: String) throws(DatasetError) {
        ids += tokenizer.encode(text)
        ids.append(endToken)
        try flush(all: true)
    }

    mutating func encode(files: [String], progress: (_ done: Int, _ total: Int) throws(DatasetError) -> Void) throws(DatasetError) {
        var sizes: [Int] = []
        for file in files { sizes.append(try open(file).byteCount) }
        totalBytes = sizes.reduce(0, +)
        for (file, size) in zip(files, sizes) {
            if !settings.lineByLine {
                try encodeBulk(file, progress)
            } else if file.lowercased().hasSuffix(".csv") {
                try encodeRows(file, progress)
            } else {
                try encodeLines(file, progress)
            }
            doneBytes += size
            try progress(doneBytes, max(totalBytes, doneBytes))
        }
    }

    // MARK: One file

    private mutating func encodeBulk(_ file: String, _ progress: (Int, Int) throws(DatasetError) -> Void) throws(DatasetError) {
        try forEachLine(of: file, progress) { encoder, line, _ in
            encoder.tokenizer.encode(utf8: UnsafeRawBufferPointer(line), into: &encoder.ids)
        }
    }

    private mutating func encodeLines(_ file: String, _ progress: (Int, Int) throws(DatasetError) -> Void) throws(DatasetError) {
        let skipsFirst = settings.header
        try forEachLine(of: file, progress) { encoder, line, number in
            if skipsFirst && number == 1 { return }
            var length = line.count
            if length > 0 && line[length - 1] == 0x0A { length -= 1 }
            if length > 0 && line[length - 1] == 0x0D { length -= 1 }
            encoder.tokenizer.encode(utf8: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(line)[..<length]), into: &encoder.ids)
            encoder.ids.append(encoder.endToken)
        }
    }

    private mutating func encodeRows(_ file: String, _ progress: (Int, Int) throws(DatasetError) -> Void) throws(DatasetError) {
        var parser = CSVFirstColumn()
        var skipsNext = settings.header
        func take(_ field: [UInt8], _ encoder: inout Self) {
            if skipsNext {
                skipsNext = false
                return
            }
            field.withUnsafeBytes { encoder.tokenizer.encode(utf8: $0, into: &encoder.ids) }
            encoder.ids.append(encoder.endToken)
        }
        try forEachLine(of: file, progress) { encoder, line, number in
            parser.feed(line, number) { take($0, &encoder) }
        }
        do throws(CSVFirstColumn.Failure) { try parser.finish { take($0, &self) } } catch {
            throw .malformedCSV(file: file, line: error.line, problem: error.problem)
        }
        try flush(all: true)
    }

    /// Calls for each line of a file; tokens that gathered go to the sink between lines.
    private mutating func forEachLine(
        of file: String, _ progress: (Int, Int) throws(DatasetError) -> Void,
        _ body: (inout Self, UnsafeBufferPointer<UInt8>, _ number: Int) -> Void
    ) throws(DatasetError) {
        var reader = try open(file)
        var said = 0
        while true {
            let number = reader.line + 1
            var isValid = true
            do throws(LineReader.Failure) {
                let more: Void? = try reader.next { line in
                    isValid = isUTF8(line)
                    if isValid { body(&self, line, number) }
                }
                if more == nil { break }
            } catch { throw .unreadable(file: file, reason: error.reason) }
            guard isValid else { throw .notUTF8(file: file, line: number) }
            try flush()
            if number & 0xFFF == 0 || reader.offset - said >= Self.longestSilence {
                said = reader.offset
                try progress(doneBytes + said, max(totalBytes, doneBytes + said))
            }
        }
        try flush(all: true)
    }

    private func open(_ file: String) throws(DatasetError) -> LineReader {
        do throws(LineReader.Failure) { return try LineReader(path: file) } catch { throw .unreadable(file: file, reason: error.reason) }
    }

    private mutating func flush(all: Bool = false) throws(DatasetError) {
        guard ids.count >= Self.batch || all else { return }
        var failure: DatasetError?
        ids.withUnsafeBufferPointer { batch in
            do throws(DatasetError) { try sink.append(batch) } catch { failure = error }
        }
        if let failure { throw failure }
        ids.removeAll(keepingCapacity: true)
    }
}
