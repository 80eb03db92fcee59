internal import DurableFiles
internal import Encodings
internal import Glibc
internal import TaskProtocol

/// Moves artifacts over a ``ArtifactTransport``: it blocks, so it runs on a thread of its own or one that may wait.
///
/// A broken link, a broker that restarts, `busy` and `unavailable` cost time, never bytes that are there already. It gives up after a minute without
/// any byte.
package struct ArtifactTransfer<Transport: ArtifactTransport> {
    private let transport: Transport
    private let watch: TransferWatch
    private var pace = TransferPace()
    private var lastNumber: Int64 = 0
    /// Of all that was asked for in one call: done before the present artifact, and in all.
    private var doneBefore: Int64 = 0
    private var total: Int64 = 0
    /// When the last new byte was done, and how many there are of the present artifact.
    private var movedAt: Int64 = 0
    private var moved: Int64 = 0
    private var pauses = 0
    private let refusalPatience: Int64

    /// - Parameter refusalMilliseconds: for how long `busy` and `unavailable` are tried again without a new byte.
    package init(_ transport: Transport, watch: TransferWatch = TransferWatch(), refusalMilliseconds: Int64 = 30_000) {
        self.transport = transport
        self.watch = watch
        refusalPatience = refusalMilliseconds
    }

    // MARK: Up

    /// Stores one artifact.
    /// - Returns: its digest and size.
    @discardableResult
    package mutating func upload(_ source: TransferSource) throws(TransferError) -> (sha256: String, size: Int64) {
        let measured = try local { () throws(ArtifactError) in try source.measured() }
        (doneBefore, total) = (0, measured.size)
        try upload(source, measured)
        return measured
    }

    /// Stores named files as one artifact, the manifest last: once it is there, all that it names is.
    package mutating func upload(files: [(path: String, source: TransferSource)]) throws(TransferError) -> Manifest {
        var measured: [(sha256: String, size: Int64)] = []
        for file in files { measured.append(try local { () throws(ArtifactError) in try file.source.measured() }) }
        let manifest = try local { () throws(ArtifactError) in
            var entries: [Manifest.File] = []
            for (file, found) in zip(files, measured) { entries.append(try Manifest.File(path: file.path, sha256: found.sha256, size: found.size)) }
            return try Manifest(files: entries)
        }
        let json = TransferSource.bytes(manifest.json)
        (doneBefore, total) = (0, measured.reduce(Int64(manifest.json.count)) { $0 + $1.size })
        for (file, found) in zip(files, measured) {
            try upload(file.source, found)
            doneBefore += found.size
        }
        try upload(json, try local { () throws(ArtifactError) in try json.measured() })
        return manifest
    }

    /// Stores the files below a folder as one artifact.
    /// - Parameter include: which relative paths.
    package mutating func upload(directory: String, include: (String) -> Bool = { _ in true }) throws(TransferError) -> Manifest {
        let paths = try local { () throws(ArtifactError) in try FileSystem.files(below: directory) }
        return try upload(files: paths.filter(include).map { (path: $0, source: .file(directory + "/" + $0)) })
    }

    private mutating func upload(_ source: TransferSource, _ measured: (sha256: String, size: Int64)) throws(TransferError) {
        let reader = try local { () throws(ArtifactError) in try SourceReader(source) }
        do throws(TransferError) {
            try send(reader, measured, mayBlameEarlierBytes: true)
        } catch {
            // Bytes of an earlier upload were broken, and are gone now: ours have not been seen whole yet.
            guard case .refused(let refusal) = error, refusal.field == "sha256", wasResumed else { throw error }
            try send(reader, measured, mayBlameEarlierBytes: false)
        }
    }

    private var wasResumed = false

    private mutating func send(
        _ reader: SourceReader, _ measured: (sha256: String, size: Int64), mayBlameEarlierBytes: Bool
    ) throws(TransferError) {
        var plan = UploadPlan(size: measured.size, pace: pace, after: lastNumber)
        defer { (pace, wasResumed) = (plan.pace, mayBlameEarlierBytes && plan.isResumed) }
        (movedAt, moved) = (Self.now, 0)
        while true {
            switch plan.next(now: Self.now) {
            case .done: return
            case .stuck: throw .broken("bytes that were taken are not there")
            case .ask(let number):
                lastNumber = number
                try transport.send(.put(ArtifactPut(sha256: measured.sha256, size: measured.size)), number: number)
            case .send(let number, let offset, let count):
                lastNumber = number
                let data = try local { () throws(ArtifactError) in try reader.read(at: offset, count: count) }
                try transport.send(.put(ArtifactPut(sha256: measured.sha256, size: measured.size, offset: offset, data: data)), number: number)
            case .wait(let until):
                switch try wait(until) {
                case .answer(let number, .have(let have)):
                    plan.answered(number, have: have, now: Self.now)
                    heard(plan.bytesDone)
                case .answer(let number, .refused(let error)):
                    if plan.awaits(number) { plan.lost(pauseUntil: try pause(error)) }
                case .answer(_, .data): throw .broken("bytes came where none were asked for")
                case .lost: plan.lost()
                case .nothing: break
                }
            }
        }
    }

    // MARK: Down

    /// The bytes of an artifact, checked against its digest.
    /// - Parameter limit: a larger one is refused.
    package mutating func bytes(_ sha256: String, limit: Int64 = 64 << 20) throws(TransferError) -> [UInt8] {
        let sink = try local { () throws(ArtifactError) in try TransferSink(path: nil, limit: limit) }
        (doneBefore, total) = (0, 0)
        _ = try receive(sha256, into: sink)
        return sink.bytes
    }

    /// Writes an artifact's bytes to a file, which appears when they are there and have their digest.
    package mutating func download(_ sha256: String, to path: String) throws(TransferError) {
        (doneBefore, total) = (0, 0)
        try fetch(sha256, to: path)
    }

    /// Makes a folder with the files of a manifest in it. Whatever stops half way, the folder is then not there.
    /// - Parameter directory: must not exist yet; its parent must.
    package mutating func download(_ manifest: Manifest, into directory: String) throws(TransferError) {
        (doneBefore, total) = (0, Int64(manifest.byteCount))
        try download(manifest.files.map { ($0.path, $0.sha256, $0.size) }, into: directory)
    }

    /// Makes a folder with one artifact's bytes in it under a name. Whatever stops half way, the folder is then not there.
    /// - Parameter directory: must not exist yet; its parent must.
    package mutating func download(_ sha256: String, as name: String, into directory: String) throws(TransferError) {
        (doneBefore, total) = (0, 0)
        try download([(name, sha256, nil)], into: directory)
    }

    private mutating func download(_ files: [(path: String, sha256: String, size: Int64?)], into directory: String) throws(TransferError) {
        guard mkdir(directory, 0o755) == 0 else { throw .artifact(.system(path: directory, errno: errno)) }
        do throws(TransferError) {
            for file in files {
                if let slash = file.path.lastIndex(of: "/") {
                    try local { () throws(ArtifactError) in try FileSystem.makeFolders(directory + "/" + file.path[..<slash]) }
                }
                try fetch(file.sha256, to: directory + "/" + file.path, size: file.size)
                doneBefore += file.size ?? 0
            }
        } catch {
            FileTree.remove(directory)
            throw error
        }
    }

    private mutating func fetch(_ sha256: String, to path: String, size: Int64? = nil) throws(TransferError) {
        let sink = try local { () throws(ArtifactError) in try TransferSink(path: path, limit: .max) }
        let actual = try receive(sha256, into: sink)
        if let size, size != actual { throw .artifact(.sizeMismatch(told: size, actual: actual)) }
        try local { () throws(ArtifactError) in try sink.finish() }
    }

    private mutating func receive(_ sha256: String, into sink: TransferSink) throws(TransferError) -> Int64 {
        var plan = DownloadPlan(pace: pace, after: lastNumber)
        var digest = SHA256Digest()
        defer { pace = plan.pace }
        (movedAt, moved) = (Self.now, 0)
        receiving: while true {
            switch plan.next(now: Self.now) {
            case .done: break receiving
            case .fetch(let number, let offset, let length):
                lastNumber = number
                try transport.send(.fetch(ArtifactFetch(sha256: sha256, offset: offset, length: length)), number: number)
            case .wait(let until):
                switch try wait(until) {
                case .answer(let number, .data(let data, let size)):
                    try local { () throws(ArtifactError) in try sink.checkSize(size) }
                    switch plan.received(number, count: data.count, of: size, now: Self.now) {
                    case .take:
                        digest.update(data)
                        try local { () throws(ArtifactError) in try sink.write(data) }
                        heard(plan.bytesDone, of: size)
                    case .ignore: break
                    case .broken: throw .broken("parts of an artifact contradict each other")
                    }
                case .answer(let number, .refused(let error)):
                    if plan.awaits(number) { plan.lost(pauseUntil: try pause(error)) }
                case .answer(_, .have): throw .broken("a part was said to be there where one was asked for")
                case .lost: plan.lost()
                case .nothing: break
                }
            }
        }
        let actual = hexString(digest.finish())
        guard actual == sha256 else { throw .artifact(.digestMismatch(expected: sha256, actual: actual)) }
        return plan.bytesDone
    }

    // MARK: Waiting

    /// A minute without a byte ends it.
    private static var patience: Int64 { 60_000 }

    private func wait(_ until: Int64?) throws(TransferError) -> TransportEvent {
        if watch.isStopped() { throw .stopped }
        let now = Self.now
        if now - movedAt >= Self.patience { throw .silent(seconds: Int(Self.patience / 1000)) }
        return try transport.next(milliseconds: Int(max(1, min(until.map { $0 - now } ?? 100, 100))))
    }

    /// - Parameter size: of the present artifact, where it is known by now.
    private mutating func heard(_ bytes: Int64, of size: Int64 = 0) {
        guard bytes > moved else { return }
        (movedAt, moved, pauses) = (Self.now, bytes, 0)
        watch.progress(doneBefore + bytes, max(total, doneBefore + max(bytes, size)))
    }

    /// Until when to pause after a refusal that may pass.
    private mutating func pause(_ error: ContractError) throws(TransferError) -> Int64 {
        guard error.code == .busy || error.code == .unavailable, Self.now - movedAt < refusalPatience else { throw .refused(error) }
        pauses += 1
        return Self.now + min(50 << Int64(min(pauses, 5)), 1000)
    }

    private func local<Value>(_ body: () throws(ArtifactError) -> Value) throws(TransferError) -> Value {
        do throws(ArtifactError) { return try body() } catch { throw .artifact(error) }
    }

    private static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
