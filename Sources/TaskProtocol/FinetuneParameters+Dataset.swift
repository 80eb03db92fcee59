extension FinetuneParameters {
    /// The corpus.
    package indirect enum Dataset: Sendable, Equatable {
        /// A registered dataset.
        case name(String)
        /// An artifact: `sha256:` and the digest of its manifest or bytes.
        case uri(String)
        case text(String)
        case texts([String])
        /// Several datasets joined into one; equalized, each gives as many tokens as the smallest has.
        case merge([Part], equalize: Bool)
        /// The parameter `cross_train`: one dataset after another, steps and learning rate halved each time.
        case crossTrain([Part])
    }

    /// One of several datasets, and how texts stand in it where that is said of it alone.
    package struct Part: Sendable, Equatable {
        package var dataset: Dataset
        package var lineByLine: Bool?
        package var header: Bool?

        package init(_ dataset: Dataset, lineByLine: Bool? = nil, header: Bool? = nil) {
            self.dataset = dataset
            self.lineByLine = lineByLine
            self.header = header
        }
    }

    /// Whether the corpus is put together from several datasets.
    package var hasParts: Bool {
        switch dataset {
        case .merge, .crossTrain: true
        case .name, .uri, .text, .texts: false
        }
    }

    /// The parameter that names the corpus.
    package var corpusName: String { if case .crossTrain = dataset { "cross_train" } else { "dataset" } }

    /// Every dataset that is read, in order, each with what is said of it, else of the one that it is part of, else beside the dataset.
    package var leaves: [Part] {
        var list: [Part] = []
        _ = Part(dataset, lineByLine: lineByLine, header: header).mapLeaves { leaf in
            list.append(leaf)
            return leaf
        }
        return list
    }
}

extension FinetuneParameters.Part {
    /// The same with each dataset that is read put through `change`, in order.
    func mapLeaves(_ change: (FinetuneParameters.Part) -> FinetuneParameters.Part) -> FinetuneParameters.Part {
        func map(_ parts: [FinetuneParameters.Part]) -> [FinetuneParameters.Part] {
            parts.map { part in
                var part = part
                part.lineByLine = part.lineByLine ?? lineByLine
                part.header = part.header ?? header
                return part.mapLeaves(change)
            }
        }
        var result = self
        switch dataset {
        case .merge(let parts, let equalize): result.dataset = .merge(map(parts), equalize: equalize)
        case .crossTrain(let parts): result.dataset = .crossTrain(map(parts))
        case .name, .uri, .text, .texts: result = change(self)
        }
        return result
    }
}

extension FinetuneParameters {
    /// A low-rank adapter to train instead of the model; names, meanings and defaults are PEFT's.
    package struct LoRA: Sendable, Equatable {
        package var rank = 8
        package var alpha = 8.0
        package var dropout = 0.0
        /// Modules by the ends of their paths; nil: what makes query and value.
        package var targets: [String]?

        package init() {}
    }

    /// Fills in how texts stand in each dataset that is read.
    /// - Parameter pinned: the datasets that are named or addressed, in order.
    ///
    /// Line by line: as the task says, else as the dataset is registered; separate texts are always, one text never. A first line is a
    /// header unless the task says otherwise, but in a text that stands in the task itself it is text.
    package mutating func settleTexts(_ pinned: [ResolvedDataset]) {
        var rest = pinned[...]
        let settled = Part(dataset, lineByLine: lineByLine, header: header).mapLeaves { leaf in
            var leaf = leaf
            switch leaf.dataset {
            case .name, .uri:
                let registered = rest.popFirst()?.lineByLine
                leaf.lineByLine = leaf.lineByLine ?? registered ?? false
                leaf.header = leaf.header ?? true
            case .texts:
                leaf.lineByLine = leaf.lineByLine ?? true
                leaf.header = leaf.header ?? false
            case .text, .merge, .crossTrain:
                leaf.lineByLine = leaf.lineByLine ?? false
                leaf.header = leaf.header ?? false
            }
            return leaf
        }
        guard hasParts else {
            (lineByLine, header) = (settled.lineByLine, settled.header)
            return
        }
        dataset = settled.dataset
        lineByLine = lineByLine ?? leaves.allSatisfy { $0.lineByLine == true }
    }
}
