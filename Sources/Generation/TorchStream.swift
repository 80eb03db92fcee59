import CKernels

/// A place in the stream of exponential draws that torch's generator gives for a seed: each element of each row of each
/// step takes one, in row-major order, whether its row has ended or not.
///
/// A stream only goes forward. Memory: one block of the generator, 2.5 KB.
final class TorchStream {
    private let generator: UnsafeMutablePointer<ck_mt19937>
    /// Draws passed so far.
    private(set) var position: UInt64 = 0

    /// The stream's beginning after `torch.manual_seed(seed)`.
    init(seed: UInt64) {
        generator = .allocate(capacity: 1)
        ck_mt19937_seed(generator, seed)
    }

    /// The same place of the same stream.
    init(copying other: TorchStream) {
        generator = .allocate(capacity: 1)
        move(to: other)
    }

    deinit { generator.deallocate() }

    /// The generator where the stream stands, for a draw that leaves it there.
    var state: UnsafePointer<ck_mt19937> { UnsafePointer(generator) }

    /// Passes over draws up to a place that is not behind.
    func advance(to place: UInt64) {
        ck_torch_skip(generator, place - position)
        position = place
    }

    /// Moves here to where another stream of the same seed stands.
    func move(to other: TorchStream) {
        generator.update(from: other.generator, count: 1)
        position = other.position
    }
}
