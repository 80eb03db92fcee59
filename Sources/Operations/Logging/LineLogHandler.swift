internal import Glibc
internal import Logging

/// Writes each log event as one line with one `write(2)`, so that lines of several threads never mix.
struct LineLogHandler: LogHandler {
    /// How a line looks.
    enum Style: Sendable {
        case json
        case text(colour: Bool)
    }

    let label: String
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    let style: Style

    init(label: String, level: Logger.Level, style: Style) {
        self.label = label
        self.logLevel = level
        self.style = style
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = event.metadata.map { metadata.merging($0) { _, new in new } } ?? metadata
        var line = Self.line(
            style: style, time: Self.now(), level: event.level, label: label, message: event.message.description,
            metadata: all.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") })
        line += "\n"
        var bytes = Array(line.utf8)
        bytes.withUnsafeMutableBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let written = write(STDERR_FILENO, buffer.baseAddress! + offset, buffer.count - offset)
                if written < 0 {
                    if errno == EINTR { continue }
                    return
                }
                offset += written
            }
        }
    }

    /// The line's text, without the newline.
    static func line(
        style: Style, time: String, level: Logger.Level, label: String, message: String, metadata: [(key: String, value: String)]
    ) -> String {
        switch style {
        case .json:
            var line = "{\"at\":\"\(time)\",\"level\":\"\(level)\",\"logger\":\(quoted(label)),\"message\":\(quoted(message))"
            for (key, value) in metadata { line += ",\(quoted(key)):\(quoted(value))" }
            return line + "}"
        case .text(let colour):
            let mark = colour ? "\u{1B}[\(level >= .error ? 31 : level >= .warning ? 33 : 2)m" : ""
            let end = colour ? "\u{1B}[0m" : ""
            let pairs = metadata.map { " \($0.key)=\($0.value)" }.joined()
            return "\(time) \(mark)\(level)\(end) \(message)\(pairs)"
        }
    }

    /// A JSON string literal.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// The present time as RFC 3339 in UTC with milliseconds.
    static func now() -> String {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        var parts = tm()
        var seconds = time.tv_sec
        gmtime_r(&seconds, &parts)
        func padded(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))T"
            + "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2)).\(padded(time.tv_nsec / 1_000_000, 3))Z"
    }
}
