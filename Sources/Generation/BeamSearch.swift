import Kernels

/// The rules of a search with beams, without texts or a model: which continuations run on, which are finished texts, and
/// when no better one can come.
///
///     search.take(scores, ends: ends)
///     for place in search.running { … }      // what runs on, best first
///     if search.isOver { … }                 // search.finishedScores
///
/// Source: transformers 5.24, generation/utils.py, `_beam_search` (engine handbook, 3): a finished text scores its
/// log-probability divided by generated length to the power of the length penalty, the end token counted and the prompt
/// not. Equal scores keep the order in which they came. Its lists keep their memory from round to round.
struct BeamSearch {
    let beams: Int
    let lengthPenalty: Double
    let earlyStopping: EarlyStopping
    /// Generated tokens at which every text ends.
    let maximumLength: Int
    /// The continuations of the last round that run on, best first: their places in its list.
    private(set) var running: [Int] = []
    /// The continuations of the last round that are finished texts, in the order in which they were filed: the place of
    /// each in the round's list, and the rank that it took among ``finishedScores``.
    private(set) var filed: [(place: Int, rank: Int)] = []
    /// Whether no better text can come.
    private(set) var isOver = false
    /// Scores of the finished texts, best first; at most as many as beams.
    private(set) var finishedScores: [Float] = []
    /// Generated tokens of the running beams.
    private(set) var length = 0
    private var mayImprove = true

    /// What a score is until there is one.
    private static let none: Float = -1e9

    init(beams: Int, lengthPenalty: Double, earlyStopping: EarlyStopping, maximumLength: Int) {
        self.beams = beams
        self.lengthPenalty = lengthPenalty
        self.earlyStopping = earlyStopping
        self.maximumLength = maximumLength
    }

    private var isFull: Bool { finishedScores.count == beams }
    private var endsWhenFull: Bool { earlyStopping == .yes }

    /// Takes a round: the scores of the chosen continuations in their order, and which of them end their text.
    mutating func take(_ scores: [Float], ends: [Bool]) {
        running.removeAll(keepingCapacity: true)
        filed.removeAll(keepingCapacity: true)
        for place in scores.indices where !ends[place] { enter(place, scores) }
        if mayImprove, !(isFull && endsWhenFull) {
            for place in 0..<min(beams, scores.count) where ends[place] { file(scores[place], place: place) }
        }
        length += 1
        mayImprove = mayImprove && canImprove(best: running.first.map { scores[$0] })
        isOver = !mayImprove || (isFull && endsWhenFull)
    }

    /// Keeps the best that do not end, in order.
    private mutating func enter(_ place: Int, _ scores: [Float]) {
        var rank = running.count
        while rank > 0, scores[running[rank - 1]] < scores[place] { rank -= 1 }
        guard rank < beams else { return }
        if running.count == beams { running.removeLast() }
        running.insert(place, at: rank)
    }

    /// Files a finished text where it is among the best; ``length`` is still that of the beams before this round.
    private mutating func file(_ sum: Float, place: Int) {
        let score = sum / power(length + 1)
        let rank = finishedScores.firstIndex { $0 < score } ?? finishedScores.count
        guard rank < beams else { return }
        if isFull { finishedScores.removeLast() }
        finishedScores.insert(score, at: rank)
        filed.append((place, rank))
    }

    private func canImprove(best: Float?) -> Bool {
        guard let best else { return false }
        // Under a penalty far below 0 even the best score is less than none: a search that has no text goes on (transformers' ends, and gives the
        // prompt and some token).
        guard !finishedScores.isEmpty else { return true }
        let judged = earlyStopping == .never && lengthPenalty > 0 ? maximumLength : length
        let worst = isFull ? finishedScores[beams - 1] : Self.none
        return best / power(judged) > worst
    }

    private func power(_ length: Int) -> Float { Float(Functions.exp(lengthPenalty * Functions.log(Double(length)))) }
}
