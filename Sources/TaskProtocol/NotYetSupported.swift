/// What the contract promises and this version does not do: the one list of it. Each is refused with `invalid_argument`, never ignored.
///
/// To add a feature, remove its line here.
enum NotYetSupported {
    /// Kinds of tasks that are known and refused.
    static let kinds: Set<TaskKind> = [.verify]
}
