/// Reads the pickles that torch.save writes, and nothing else: a machine that builds dictionaries, tuples and tensors.
///
/// A pickle is a program; Python's own reader runs any function that it names. Here a name is only compared with the few that
/// state dicts are made of (``call(_:_:)``); anything else is an error and nothing is ever executed.
/// Source: Python's pickletools, protocols 2 to 4.
struct Unpickler {
    /// More than any state dict needs (a hundred bytes a tensor), so that a forged file cannot fill the memory.
    private static let maximumBytes = 1 << 24
    /// Longer than any name that means something.
    private static let maximumName = 1024

    private var reader: ByteReader
    private let start: Int
    private var stack: [PickleValue] = []
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]
    private(set) var arena: [PickleContainer] = []
    /// Entries that were copied from one container to another: never more than the pickle has bytes, which can ask for it again and again.
    private var copied = 0

    /// - Parameter reader: stands at the first opcode.
    init(_ reader: ByteReader) {
        self.reader = reader
        start = reader.position
    }

    /// Where the next byte behind the pickle stands, once it has been read.
    var end: Int { reader.position }

    /// Runs to the pickle's end.
    /// - Returns: what it made; containers in ``arena``.
    mutating func load() throws(ModelFileError) -> PickleValue {
        while true {
            guard reader.position - start < Self.maximumBytes else {
                throw reader.malformed("holds a pickle of more than \(Self.maximumBytes) bytes")
            }
            let opcode = try reader.byte()
            if opcode == UInt8(ascii: ".") { return try pop() }
            try step(opcode)
        }
    }

    /// The error of a pickle that contradicts itself.
    func malformed(_ message: String) -> ModelFileError { reader.malformed("holds a broken pickle: \(message)") }

    /// Every tensor that the pickle made, named or not.
    var tensors: [TorchTensor] {
        arena.compactMap { if case .tensor(let tensor) = $0 { tensor } else { nil } }
    }

    // MARK: Opcodes

    private mutating func step(_ opcode: UInt8) throws(ModelFileError) {
        switch opcode {
        case 0x80: _ = try reader.byte()  // PROTO
        case 0x95: _ = try reader.take(8)  // FRAME
        case UInt8(ascii: "("): marks.append(stack.count)
        case UInt8(ascii: "0"): _ = try pop()
        case UInt8(ascii: "1"): _ = try popToMark()
        case UInt8(ascii: "2"): stack.append(try top())
        default:
            if try pushLiteral(opcode) { return }
            if try build(opcode) { return }
            if try remember(opcode) { return }
            throw malformed("it has the opcode \(opcode), which state dicts do not need")
        }
    }

    /// Opcodes that push a value of their own.
    private mutating func pushLiteral(_ opcode: UInt8) throws(ModelFileError) -> Bool {
        switch opcode {
        case UInt8(ascii: "N"): stack.append(.none)
        case 0x88: stack.append(.bool(true))
        case 0x89: stack.append(.bool(false))
        case UInt8(ascii: "J"): stack.append(.integer(Int(try reader.integer(Int32.self))))
        case UInt8(ascii: "K"): stack.append(.integer(Int(try reader.byte())))
        case UInt8(ascii: "M"): stack.append(.integer(Int(try reader.integer(UInt16.self))))
        case 0x8A: stack.append(try longInteger(Int(try reader.byte())))
        case UInt8(ascii: "G"):
            _ = try reader.take(8)
            stack.append(.real)
        case UInt8(ascii: "X"): stack.append(.text(try reader.text(Int(try reader.integer(UInt32.self)))))
        case 0x8C, UInt8(ascii: "U"): stack.append(.text(try reader.text(Int(try reader.byte()))))
        case UInt8(ascii: "T"): stack.append(.text(try reader.text(Int(try reader.integer(Int32.self)))))
        case 0x8D: stack.append(.text(try reader.text(try reader.count())))
        case UInt8(ascii: "c"): stack.append(.global(try line() + "." + line()))
        case 0x93:
            guard case .text(let name) = try pop(), case .text(let module) = try pop() else { throw malformed("a name is no text") }
            // The texts may have been remembered: joining them without a bound would multiply what the file holds.
            guard name.utf8.count + module.utf8.count <= Self.maximumName else { throw malformed("a name has no end") }
            stack.append(.global(module + "." + name))
        default: return false
        }
        return true
    }

    /// Opcodes that make or fill containers, or call what they name.
    private mutating func build(_ opcode: UInt8) throws(ModelFileError) -> Bool {
        switch opcode {
        case UInt8(ascii: "}"): push(.dictionary([]))
        case UInt8(ascii: "]"): push(.list([]))
        case UInt8(ascii: ")"): push(.tuple([]))
        case UInt8(ascii: "t"): push(.tuple(try popToMark()))
        case UInt8(ascii: "l"): push(.list(try popToMark()))
        case UInt8(ascii: "d"): push(.dictionary(try pairs(try popToMark())))
        case 0x85...0x87:
            var items: [PickleValue] = []
            for _ in 0..<(opcode - 0x84) { items.append(try pop()) }
            push(.tuple(items.reversed()))
        case UInt8(ascii: "a"): try append([try pop()])
        case UInt8(ascii: "e"): try append(try popToMark())
        case UInt8(ascii: "s"):
            let value = try pop()
            try set([(try pop(), value)])
        case UInt8(ascii: "u"): try set(try pairs(try popToMark()))
        case UInt8(ascii: "R"):
            let arguments = try items(try pop())
            stack.append(try call(try pop(), arguments))
        case UInt8(ascii: "b"):
            _ = try pop()  // An OrderedDict's attributes (`_metadata`); a dictionary needs none of them.
            guard case .container(let index) = try top(), case .dictionary = arena[index] else {
                throw malformed("it sets up an object that is no dictionary")
            }
        case UInt8(ascii: "Q"): stack.append(.storage(try storage(try items(try pop()))))
        default: return false
        }
        return true
    }

    private mutating func remember(_ opcode: UInt8) throws(ModelFileError) -> Bool {
        switch opcode {
        case UInt8(ascii: "q"): memo[Int(try reader.byte())] = try top()
        case UInt8(ascii: "r"): memo[Int(try reader.integer(UInt32.self))] = try top()
        case 0x94: memo[memo.count] = try top()
        case UInt8(ascii: "h"): stack.append(try recall(Int(try reader.byte())))
        case UInt8(ascii: "j"): stack.append(try recall(Int(try reader.integer(UInt32.self))))
        default: return false
        }
        return true
    }

    // MARK: What names may mean

    /// The only calls there are.
    private mutating func call(_ function: PickleValue, _ arguments: [PickleValue]) throws(ModelFileError) -> PickleValue {
        guard case .global(let name) = function else { throw malformed("it calls what is no function") }
        switch name {
        case "collections.OrderedDict":
            guard let first = arguments.first else { return make(.dictionary([])) }
            var pairs: [(key: PickleValue, value: PickleValue)] = []
            let entries = try items(first)
            copied += entries.count
            guard copied <= reader.position - start else { throw malformed("it copies its entries again and again") }
            for pair in entries {
                let both = try items(pair)
                guard both.count == 2 else { throw malformed("a dictionary's entry is no pair") }
                pairs.append((both[0], both[1]))
            }
            return make(.dictionary(pairs))
        case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor": return make(.tensor(try tensor(arguments)))
        case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
            guard let data = arguments.first else { throw malformed("a parameter has no data") }
            return data
        default:
            throw ModelFileError(
                .unsupported, path: reader.path,
                "calls \(name.prefix(80)), which is not on the list of what weights are made of; nothing was executed. Save the state dict alone, or as safetensors"
            )
        }
    }

    private static let storageTypes: [String: ElementType] = [
        "torch.FloatStorage": .float32, "torch.HalfStorage": .float16, "torch.BFloat16Storage": .bfloat16, "torch.DoubleStorage": .float64,
        "torch.LongStorage": .int64, "torch.IntStorage": .int32, "torch.ShortStorage": .int16, "torch.CharStorage": .int8,
        "torch.ByteStorage": .uint8, "torch.BoolStorage": .bool,
    ]

    /// ("storage", type, key, location, count [, view])
    private func storage(_ parts: [PickleValue]) throws(ModelFileError) -> TorchStorage {
        guard parts.count == 5 || parts.count == 6 && parts[5] == .none, parts[0] == .text("storage"), case .global(let type) = parts[1],
            case .text(let key) = parts[2], case .integer(let count) = parts[4], count >= 0
        else { throw malformed("a storage is not described as one") }
        guard let dtype = Self.storageTypes[type] else {
            throw ModelFileError(.unsupported, path: reader.path, "stores numbers as \(type.prefix(80)), which is not known here")
        }
        return TorchStorage(dtype: dtype, key: key, count: count)
    }

    /// (storage, offset, shape, strides, …), checked against the storage's size.
    private func tensor(_ parts: [PickleValue]) throws(ModelFileError) -> TorchTensor {
        guard parts.count >= 4, case .storage(let storage) = parts[0], case .integer(let offset) = parts[1], offset >= 0 else {
            throw malformed("a tensor is not described as one")
        }
        let (shape, strides) = (try sizes(parts[2]), try sizes(parts[3]))
        guard shape.count == strides.count else { throw malformed("a tensor has \(shape.count) sizes and \(strides.count) strides") }
        guard fits(offset: offset, shape: shape, strides: strides, count: storage.count) else {
            throw malformed("a tensor of shape \(shape) reaches beyond its storage of \(storage.count) elements")
        }
        return TorchTensor(storage: storage, offset: offset, shape: shape, strides: strides)
    }

    /// Whether a view stays within `count` elements and has no more of them (strides of zero repeat elements without end).
    private func fits(offset: Int, shape: [Int], strides: [Int], count: Int) -> Bool {
        guard let elements = SafetensorsFile.byteCount(shape: shape, dtype: .uint8), elements <= count, offset <= count else { return false }
        if elements == 0 { return true }
        var last = offset
        for (size, stride) in zip(shape, strides) {
            let (reach, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
            guard !overflow, reach < count, last < count else { return false }
            last += reach
        }
        return last < count
    }

    private func sizes(_ value: PickleValue) throws(ModelFileError) -> [Int] {
        let values = try items(value)
        guard values.count <= 16 else { throw malformed("a tensor has \(values.count) dimensions") }
        return try values.map { value throws(ModelFileError) in
            guard case .integer(let size) = value, size >= 0 else { throw malformed("a tensor's size is no number") }
            return size
        }
    }

    // MARK: The stack

    private func top() throws(ModelFileError) -> PickleValue {
        guard let value = stack.last else { throw malformed("it takes from an empty stack") }
        return value
    }

    private mutating func pop() throws(ModelFileError) -> PickleValue {
        guard stack.count > marks.last ?? 0, let value = stack.popLast() else { throw malformed("it takes from an empty stack") }
        return value
    }

    private mutating func popToMark() throws(ModelFileError) -> [PickleValue] {
        guard let mark = marks.popLast(), mark <= stack.count else { throw malformed("it lacks a mark") }
        let values = Array(stack[mark...])
        stack.removeSubrange(mark...)
        return values
    }

    private mutating func make(_ container: PickleContainer) -> PickleValue {
        arena.append(container)
        return .container(arena.count - 1)
    }

    private mutating func push(_ container: PickleContainer) { stack.append(make(container)) }

    private func recall(_ index: Int) throws(ModelFileError) -> PickleValue {
        guard let value = memo[index] else { throw malformed("it recalls what it did not keep") }
        return value
    }

    /// The members of a tuple or list.
    func items(_ value: PickleValue) throws(ModelFileError) -> [PickleValue] {
        if case .container(let index) = value {
            switch arena[index] {
            case .tuple(let items), .list(let items): return items
            default: break
            }
        }
        throw malformed("a list is something else")
    }

    private func pairs(_ values: [PickleValue]) throws(ModelFileError) -> [(key: PickleValue, value: PickleValue)] {
        guard values.count % 2 == 0 else { throw malformed("a key has no value") }
        return stride(from: 0, to: values.count, by: 2).map { (values[$0], values[$0 + 1]) }
    }

    private mutating func append(_ values: [PickleValue]) throws(ModelFileError) {
        guard case .container(let index) = try top(), case .list(var items) = arena[index] else { throw malformed("it adds to what is no list") }
        arena[index] = .list([])  // So that the array is not copied for the append.
        items += values
        arena[index] = .list(items)
    }

    private mutating func set(_ values: [(key: PickleValue, value: PickleValue)]) throws(ModelFileError) {
        guard case .container(let index) = try top(), case .dictionary(var items) = arena[index] else {
            throw malformed("it sets a key of what is no dictionary")
        }
        arena[index] = .dictionary([])
        items += values
        arena[index] = .dictionary(items)
    }

    private mutating func line() throws(ModelFileError) -> String {
        let start = reader.position
        var length = 0
        while try reader.byte() != UInt8(ascii: "\n") {
            length += 1
            guard length <= Self.maximumName else { throw malformed("a name has no end") }
        }
        var name = ByteReader(reader.bytes, from: start, path: reader.path)
        return try name.text(length)
    }

    /// LONG1's little-endian two's complement; what does not fit an `Int` (torch's magic number) becomes its low 63 bits.
    private mutating func longInteger(_ count: Int) throws(ModelFileError) -> PickleValue {
        var value: UInt64 = 0
        let range = try reader.take(count)
        for (index, position) in range.enumerated() where index < 8 { value |= UInt64(reader.bytes[position]) << UInt64(8 * index) }
        let isNegative = count > 0 && count <= 8 && reader.bytes[range.upperBound - 1] >= 0x80
        if isNegative && count < 8 { value |= UInt64.max << UInt64(8 * count) }
        return .integer(count > 8 ? Int(value & (1 << 63 - 1)) : Int(truncatingIfNeeded: value))
    }
}
