/// How a layer's two parts, attention and feed-forward, add to the residual stream x.
package enum Residual: Sendable, Equatable {
    /// x += attention(norm1(x)), then x += feed(norm2(x)).
    case sequential
    /// x += attention(norm1(x)) + feed(norm2(x)), both of the x that came in.
    case parallel
}

/// In what order the attention's input of 3C columns holds query, key and value of each head.
package enum HeadOrder: Sendable, Equatable {
    /// All queries, all keys, all values, each head after head.
    case partByPart
    /// Head after head, each its query, key and value.
    case headByHead
}

/// Positions as rotations of query and key.
package struct Rotary: Sendable, Equatable {
    /// Pairs of columns of each head that turn: the first 2 · `pairs`, half of them apart.
    package var pairs: Int
    /// The angle of pair i grows by base^(−i / pairs) a position.
    package var base: Double

    package init(pairs: Int, base: Double) {
        self.pairs = pairs
        self.base = base
    }
}

/// Where queries, keys and values stand in a row of the attention's input, in floats.
package struct HeadPlaces: Sendable {
    package let stride: Int
    package let keys: Int
    package let values: Int
}

extension ModelDescription {
    /// ``headOrder`` as distances.
    package var headPlaces: HeadPlaces {
        switch headOrder {
        case .partByPart: HeadPlaces(stride: headWidth, keys: width, values: 2 * width)
        case .headByHead: HeadPlaces(stride: 3 * headWidth, keys: headWidth, values: 2 * headWidth)
        }
    }
}
