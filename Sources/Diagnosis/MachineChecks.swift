internal import Glibc
package import Kernels
internal import Messaging

/// What the engine computes with, and on how many threads.
package struct ProcessorCheck: Check {
    let set: InstructionSet
    let available: [InstructionSet]
    let cores: Int
    /// Processors that the control group allows, where it says so.
    let allowed: Double?

    package init(set: InstructionSet, available: [InstructionSet], cores: Int, allowed: Double? = nil) {
        self.set = set
        self.available = available
        self.cores = cores
        self.allowed = allowed
    }

    /// This machine.
    package init() {
        self.init(
            set: .current, available: InstructionSet.available, cores: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))),
            allowed: SystemFile.read("/sys/fs/cgroup/cpu.max").flatMap(Self.allowed(by:)))
    }

    /// What `cpu.max` of a control group allows, in processors; nil where it sets no limit.
    package static func allowed(by text: String) -> Double? {
        let words = text.split { $0 == " " || $0 == "\n" }
        guard words.count == 2, let quota = Double(words[0]), let period = Double(words[1]), period > 0 else { return nil }
        return quota / period
    }

    package func findings() -> [Finding] {
        guard !available.isEmpty else { return [.fail("processor", "\(cores) processors", mend: "\(KernelError.noInstructionSet)")] }
        let names = "\(set.rawValue) of \(available.map(\.rawValue).joined(separator: ", "))"
        let limit = allowed.map { ", \($0) allowed by the control group" } ?? ""
        let found = "\(names); \(cores) processors\(limit)"
        if set != available.last {
            return [.warn("processor", found, mend: "SCRIPTORIUM_ISA chooses a slower instruction set than this processor has: unset it")]
        }
        if set == .plain {
            return [.warn("processor", found, mend: "without AVX2 (or NEON) the engine is some forty times slower: use another machine for workers")]
        }
        if let allowed, allowed < Double(cores) {
            return [.warn("processor", found, mend: "give workers --threads \(max(1, Int(allowed))): more threads than allowed only wait")]
        }
        return [.ok("processor", found)]
    }
}

/// Memory that is left for models and batches.
package struct MemoryCheck: Check {
    /// Bytes; nil where the system does not say.
    let total: Int?
    let available: Int?
    let limit: Int?

    /// - Parameters:
    ///   - meminfo: the text of /proc/meminfo.
    ///   - limit: the text of the control group's `memory.max`.
    package init(meminfo: String?, limit: String?) {
        func bytes(_ name: String) -> Int? {
            let line = meminfo?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
        }
        total = bytes("MemTotal")
        available = bytes("MemAvailable")
        self.limit = limit.flatMap { Int($0.prefix { $0.isNumber }) }
    }

    /// This machine.
    package init() { self.init(meminfo: SystemFile.read("/proc/meminfo"), limit: SystemFile.read("/sys/fs/cgroup/memory.max")) }

    package func findings() -> [Finding] {
        guard let total, let available else {
            return [.warn("memory", "/proc/meminfo does not say how much there is", mend: "mount /proc")]
        }
        let usable = min(available, limit ?? available)
        let found = "\(ByteCount(usable)) of \(ByteCount(total)) usable" + (limit.map { ", limited to \(ByteCount($0))" } ?? "")
        // GPT-2's smallest weights are 0.5 GB; a worker holds them once, packed, and its key-value pages beside.
        guard usable < 2 << 30 else { return [.ok("memory", found)] }
        return [.warn("memory", found, mend: "a worker with the smallest GPT-2 wants 2 GB: free some, or run workers elsewhere")]
    }
}

/// How many files, and so connections, a process may have open.
package struct OpenFilesCheck: Check {
    let limit: UInt

    package init(limit: UInt) { self.limit = limit }

    /// This process.
    package init() {
        var limits = rlimit()
        limit = getrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limits) == 0 ? limits.rlim_cur : 0
    }

    package func findings() -> [Finding] {
        guard limit < 4_096 else { return [.ok("open files", "up to \(limit)")] }
        return [
            .warn(
                "open files", "up to \(limit)",
                mend: "a broker holds one for each client, worker and model file: raise `ulimit -n` (systemd: LimitNOFILE=) to 4096 or more")
        ]
    }
}

/// The messaging library.
package struct LibraryCheck: Check {
    let version: String
    let hasCurve: Bool

    package init(version: String = ZMQContext.libraryVersion, hasCurve: Bool = CurveKeyPair.isSupported) {
        self.version = version
        self.hasCurve = hasCurve
    }

    package func findings() -> [Finding] {
        if hasCurve { return [.ok("libzmq", "\(version), with CURVE")] }
        return [.fail("libzmq", "\(version), without CURVE", mend: "install a libzmq that was built with libsodium or tweetnacl: keys need it")]
    }
}

/// Bytes for people.
struct ByteCount: CustomStringConvertible {
    let count: Int
    init(_ count: Int) { self.count = count }

    var description: String {
        let tenths = { (unit: Int) in "\(Double(count * 10 / unit) / 10)" }
        return count >= 1 << 30 ? tenths(1 << 30) + " GiB" : tenths(1 << 20) + " MiB"
    }
}

/// Small files of the kernel.
enum SystemFile {
    static func read(_ path: String) -> String? {
        let handle = open(path, O_RDONLY | O_CLOEXEC)
        guard handle >= 0 else { return nil }
        defer { close(handle) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(handle, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
}
