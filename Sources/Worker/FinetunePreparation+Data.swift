import ArtifactStore
import Datasets
import FoundationEssentials
import TaskProtocol
import Tokenizers

/// The data of a finetune: laid out as files, encoded, and joined into one dataset a stage.
extension FinetunePreparation {
    /// Every dataset that is read, laid out on this machine.
    mutating func corpora(cache: inout ArtifactCache) throws(TaskFault) -> [Corpus] {
        var pinned = (task.dataset.map { [$0] } ?? task.datasets)[...]
        var corpora: [Corpus] = []
        for leaf in parameters.leaves {
            switch leaf.dataset {
            case .text(let text): corpora.append(.files([try write(text, number: corpora.count)]))
            case .texts(let texts): corpora.append(.texts(texts))
            case .name, .uri:
                guard let dataset = pinned.popFirst() else { throw .transient("the dataset was not pinned") }
                progress(WorkerProgress(phase: .loading, done: 0))
                corpora.append(try corpus(dataset, cache: &cache))
            case .merge, .crossTrain: continue
            }
            try check()
        }
        return corpora
    }

    /// A text of the task as a file, as the encoder reads it.
    private func write(_ text: String, number: Int) throws(TaskFault) -> String {
        let path = workFolder + "/text-\(number).txt"
        do {
            try FileManager.default.createDirectory(atPath: workFolder, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(filePath: path))
        } catch {
            var fault = TaskFault.transient("the text cannot be written: \(error)")
            fault.machine = MachineFault(
                mend: "make room on the disk of --cache-dir, and see that this worker may write there", artifact: workFolder)
            throw fault
        }
        return path
    }

    private mutating func corpus(_ dataset: ResolvedDataset, cache: inout ArtifactCache) throws(TaskFault) -> Corpus {
        let folder = try folder(dataset.sha256, field: uriField, &cache).path
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? []
        let files = names.sorted().map { folder + "/" + $0 }.filter { !Self.isFolder($0) }
        guard !files.isEmpty else { throw .invalid("the dataset has no files", field: corpusField) }
        guard files.count == 1, let file = files.first else { return .files(files) }
        do throws(DatasetError) {
            // One that is named by its digest alone says itself what it is.
            let isRegistered = dataset.tokenizerSHA256 != nil
            let isEncoded = try TokenDataset.isEncoded(path: file)
            guard isRegistered || isEncoded else { return .files(files) }
            return .encoded(try TokenDataset.load(path: file).encoded(by: dataset.tokenizerSHA256))
        } catch {
            if case .corrupt(_, let problem) = error { throw .invalid("the encoded dataset is not usable: \(problem)", field: corpusField) }
            throw .transient(error.description)
        }
    }

    /// What to name where the corpus is at fault.
    private var corpusField: String { "params.\(parameters.corpusName)" }
    private var uriField: String { parameters.hasParts ? corpusField : "params.dataset.uri" }

    private static func isFolder(_ path: String) -> Bool {
        var isFolder = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder
    }

    /// The datasets of the stages: each corpus encoded, those of a merge joined.
    func stages(_ corpora: [Corpus], _ tokenizer: Tokenizer) throws(TaskFault) -> [TokenDataset] {
        var encoded: [TokenDataset] = []
        for (corpus, leaf) in zip(corpora, parameters.leaves) {
            encoded.append(try encode(corpus, leaf, tokenizer))
            try check()
        }
        var rest = encoded[...]
        guard case .crossTrain(let stages) = parameters.dataset else { return [try assemble(parameters.dataset, &rest)] }
        var datasets: [TokenDataset] = []
        for stage in stages { datasets.append(try assemble(stage.dataset, &rest)) }
        return datasets
    }

    private func assemble(_ dataset: FinetuneParameters.Dataset, _ leaves: inout ArraySlice<TokenDataset>) throws(TaskFault) -> TokenDataset {
        guard case .merge(let parts, let equalize) = dataset else {
            guard let leaf = leaves.popFirst() else { throw .transient("a dataset is missing") }
            return leaf
        }
        var joined: [TokenDataset] = []
        for part in parts { joined.append(try assemble(part.dataset, &leaves)) }
        do throws(DatasetError) {
            return try TokenDataset.merged(joined, equalize: equalize, seed: UInt64(clamping: task.seed))
        } catch { throw .invalid(error.description, field: corpusField) }
    }

    private func encode(_ corpus: Corpus, _ leaf: FinetuneParameters.Part, _ tokenizer: Tokenizer) throws(TaskFault) -> TokenDataset {
        do throws(DatasetError) {
            let settings = DatasetSettings(lineByLine: leaf.lineByLine ?? false, header: leaf.header ?? true)
            return try corpus.encoded(by: tokenizer, settings) { done, total throws(DatasetError) in
                if stop.isRaised { throw .stopped }
                progress(WorkerProgress(phase: .encoding, done: done, total: total))
            }
        } catch {
            switch error {
            case .unreadable, .unwritable, .corrupt, .stopped: throw .transient(error.description)
            default: throw .invalid(error.description, field: corpusField)
            }
        }
    }
}
