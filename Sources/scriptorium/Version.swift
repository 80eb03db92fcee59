import Generation

/// What `scriptorium --version` says.
enum Version {
    /// The release's number.
    static let number = "0.1.0"
    /// Number, numerics and where it runs.
    static var text: String { "scriptorium \(number) (numerics \(Numerics.all.joined(separator: " ")))" }
}
