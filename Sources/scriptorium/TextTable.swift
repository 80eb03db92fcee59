/// A table for a terminal: a header, a rule, and columns as wide as their widest cell.
struct TextTable {
    /// A column's heading and the side that its cells keep to.
    enum Column {
        case left(String)
        case right(String)

        var title: String {
            switch self {
            case .left(let title), .right(let title): title
            }
        }
    }

    let columns: [Column]
    let rows: [[String]]

    /// The table's text, without a newline at the end.
    var text: String {
        let widths = columns.indices.map { column in
            rows.reduce(columns[column].title.count) { max($0, $1[column].count) }
        }
        let lines = [columns.map(\.title), widths.map { String(repeating: "-", count: $0) }] + rows
        return lines.map { cells in
            var line = ""
            for (index, cell) in cells.enumerated() {
                let blanks = String(repeating: " ", count: widths[index] - cell.count)
                if index > 0 { line += "  " }
                if case .right = columns[index] { line += blanks + cell } else { line += cell + (index + 1 < cells.count ? blanks : "") }
            }
            return line
        }.joined(separator: "\n")
    }
}
