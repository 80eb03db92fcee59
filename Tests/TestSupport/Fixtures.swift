import FoundationEssentials

/// Where the reference data lies that torch, transformers and tokenizers made.
///
/// `REFERENCE_FIXTURES` names another set of the same layout; without it the copy beside the tests is used.
package enum Fixtures {
    /// The folder that holds `corpus.txt`, `tokenizer_cases.json`, `gpt2/` and the others.
    package static var reference: String { named ?? tests + "/Fixtures/reference" }

    /// The set that `REFERENCE_FIXTURES` names.
    private static var named: String? {
        ProcessInfo.processInfo.environment["REFERENCE_FIXTURES"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The folder `Tests` of this checkout.
    package static var tests: String { root + "/Tests" }

    /// The top folder of this checkout.
    package static var root: String {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }

    /// The folder of a reference model: in the set that is named, among those that Tests/Reference/make_models.py and make_adapters.py
    /// made, or in ``reference``.
    package static func model(_ name: String) -> String {
        let places = [named, tests + "/Fixtures/models", reference].compactMap { $0 }.map { $0 + "/" + name }
        return places.first { FileManager.default.fileExists(atPath: $0) } ?? reference + "/" + name
    }

    /// The bytes of a file below ``reference``.
    /// - Throws: what reading it throws, with the path in it.
    package static func bytes(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(filePath: reference + "/" + path)))
    }
}
