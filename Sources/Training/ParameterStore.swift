package import LanguageModels
import ModelFiles

/// One tensor of the model in training.
package struct Parameter: Sendable, Equatable {
    package let name: String
    package let shape: [Int]
    /// Where its elements begin in the flat arrays; a multiple of 16.
    package let offset: Int
    package let count: Int
    /// Whether AdamW's decay applies: its name holds neither `bias` nor `LayerNorm.weight`, so norm gains of GPT-2 do decay.
    package let decays: Bool
    /// Whether it stays as it is.
    package let frozen: Bool
}

/// Weights, gradients and both moments of every parameter, each in one flat array.
///
/// The arrays hold first what decays, then what does not, then what is frozen (weights only), so that the optimizer makes two
/// passes over long stretches. The gaps that align tensors hold zeros and stay zero.
package final class ParameterStore: Sendable {
    /// In the order of their names by bytes: the order of the gradient's norm.
    package let parameters: [Parameter]
    private let indices: [String: Int]
    /// Elements that decay, and elements that train at all (the former included).
    package let decayingCount: Int
    package let trainedCount: Int
    package let weights: FloatMemory
    package let gradients: FloatMemory
    package let firstMoment: FloatMemory
    package let secondMoment: FloatMemory

    /// - Parameters:
    ///   - specifications: every tensor of the model, once.
    ///   - frozen: the names of those that stay as they are.
    package init(_ specifications: [TensorSpecification], frozen: Set<String>) throws(TrainingError) {
        let sorted = specifications.sorted { TensorNames.precedes($0.name, $1.name) }
        func group(_ name: String) -> Int { frozen.contains(name) ? 2 : ParameterStore.decays(name) ? 0 : 1 }
        var offset = 0
        var ends = [0, 0, 0]
        var placed: [Parameter] = []
        for wanted in 0..<3 {
            for specification in sorted where group(specification.name) == wanted {
                let count = specification.shape.reduce(1, *)
                placed.append(
                    Parameter(
                        name: specification.name, shape: specification.shape, offset: offset, count: count,
                        decays: ParameterStore.decays(specification.name), frozen: wanted == 2))
                offset += (count + 15) / 16 * 16
            }
            ends[wanted] = offset
        }
        parameters = placed.sorted { TensorNames.precedes($0.name, $1.name) }
        indices = Dictionary(parameters.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        decayingCount = ends[0]
        trainedCount = ends[1]
        weights = try FloatMemory(count: offset)
        gradients = try FloatMemory(count: trainedCount)
        firstMoment = try FloatMemory(count: trainedCount)
        secondMoment = try FloatMemory(count: trainedCount)
    }

    private static func decays(_ name: String) -> Bool { !name.utf8Contains("bias") && !name.utf8Contains("LayerNorm.weight") }

    /// The parameter of a name that the description lists.
    package func parameter(_ name: String) -> Parameter? { indices[name].map { parameters[$0] } }

    /// Where a tensor's weights begin.
    func weight(_ specification: TensorSpecification) -> UnsafeMutablePointer<Float> {
        weights.base + (parameter(specification.name)?.offset ?? 0)
    }

    /// Where a tensor's gradient begins, or nil where it is frozen.
    func gradient(_ specification: TensorSpecification) -> UnsafeMutablePointer<Float>? {
        guard let parameter = parameter(specification.name), !parameter.frozen else { return nil }
        return gradients.base + parameter.offset
    }

    /// Reads weights from a file.
    /// - Parameter wanted: which; each is one of ``parameters``.
    /// - Throws: where a tensor is missing, has another shape than the description says, or holds something that is no weight.
    func load(_ tensors: TensorCollection, _ wanted: [TensorSpecification]) throws(TrainingError) {
        for parameter in wanted.compactMap({ parameter($0.name) }) {
            guard let info = tensors.info(parameter.name) else { throw .wrongTensor(name: parameter.name, message: "is not in the model's files") }
            guard info.shape == parameter.shape else {
                throw .wrongTensor(name: parameter.name, message: "has the shape \(info.shape), but config.json asks for \(parameter.shape)")
            }
            do throws(ModelFileError) {
                try tensors.readFloat32(parameter.name, into: weights.base + parameter.offset)
                tensors.releasePages(of: parameter.name)
            } catch { throw .files(error) }
        }
    }
}

extension ParameterStore {
    /// The first tensor, in the order of names, that holds something infinite or no number; nil where all is well.
    func firstNotFinite() -> String? {
        parameters.first { parameter in
            // The largest exponent is that of infinities and NaNs; integers compare without branches.
            var largest: UInt32 = 0
            for index in parameter.offset..<parameter.offset + parameter.count {
                largest = max(largest, weights.base[index].bitPattern & 0x7fff_ffff)
            }
            return largest >= 0x7f80_0000
        }?.name
    }
}

extension String {
    /// Whether the bytes of `part` occur in this string; no Unicode rules, no Foundation.
    fileprivate func utf8Contains(_ part: String) -> Bool {
        let bytes = Array(utf8)
        let wanted = Array(part.utf8)
        guard bytes.count >= wanted.count else { return false }
        return (0...(bytes.count - wanted.count)).contains { start in bytes[start..<start + wanted.count].elementsEqual(wanted) }
    }
}
