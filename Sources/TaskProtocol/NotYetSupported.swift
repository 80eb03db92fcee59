/// What the contract promises and this version does not do: the one list of it. Each is refused with `invalid_argument`, never ignored.
///
/// To add a feature, remove its line here.
enum NotYetSupported {
    /// A parameter and the value of it that is refused.
    struct Refusal {
        let field: String
        let what: String?
    }

    /// The first parameter whose value asks for something that comes later; nil where all can be done.
    static func refusal(_ parameters: GenerateParameters) -> Refusal? {
        if parameters.precision != .float32 { return Refusal(field: "precision", what: "\"\(parameters.precision.rawValue)\"") }
        return nil
    }
}
