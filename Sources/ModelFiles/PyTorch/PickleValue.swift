/// A value of a pickle. Containers stand in an arena and are named by number, so that no nesting, however deep, and no cycle
/// costs anything but its own entries.
enum PickleValue: Equatable {
    case none
    case bool(Bool)
    case integer(Int)
    case real
    case text(String)
    /// `module.name`, which is looked up in a list and never imported.
    case global(String)
    case storage(TorchStorage)
    case container(Int)
}

/// What a container of the arena holds.
enum PickleContainer {
    case tuple([PickleValue])
    case list([PickleValue])
    /// Keys and values in the order in which they were set.
    case dictionary([(key: PickleValue, value: PickleValue)])
    case tensor(TorchTensor)
}

/// The memory that tensors are views of: `torch.FloatStorage` and the like.
struct TorchStorage: Equatable {
    let dtype: ElementType
    /// The name of its bytes in the file.
    let key: String
    /// Its elements.
    let count: Int
}

/// A view of a storage, in elements.
struct TorchTensor: Equatable {
    let storage: TorchStorage
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}
