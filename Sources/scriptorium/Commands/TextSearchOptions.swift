import ArgumentParser

/// Whether the words of stored texts are indexed.
struct TextSearchOptions: ParsableArguments {
    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Index the words of stored texts, or drop that index; by default it is left as it is.",
            discussion: """
                A new database has it. It is what recording a text costs most; without it `text_search` finds the same, only slower. Both are done \
                on a database in use, and may be cut off and run again.
                """))
    var textSearch: Bool?
}
