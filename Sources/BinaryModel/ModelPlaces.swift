/// Where a binary linear layer's tensors lie in the flat buffers. Legend: O outputs, I inputs.
struct BinaryLinearPlaces {
  /// Its number among the binary matrices.
  let index: Int
  let outputs: Int
  let inputs: Int
  let weight: Range<Int>  // O×I
  let bias: Range<Int>  // O
  let shift: Range<Int>  // I
  let step: Int
}

struct LinearPlaces {
  let outputs: Int
  let inputs: Int
  let weight: Range<Int>  // O×I
  let bias: Range<Int>  // O
}

struct NormalisationPlaces {
  let weight: Range<Int>
  let bias: Range<Int>
}

/// The residual estimators of one layer, r×H each but the value's, which is 1×H.
struct EstimatorPlaces {
  let queryMain: LinearPlaces
  let queryResidual: LinearPlaces
  let keyMain: LinearPlaces
  let keyResidual: LinearPlaces
  let valueResidual: LinearPlaces
}

struct LayerPlaces {
  let query: BinaryLinearPlaces
  let key: BinaryLinearPlaces
  let value: BinaryLinearPlaces
  let queryStep: Int
  let keyStep: Int
  let valueStep: Int
  let probabilityStep: Int
  let estimators: EstimatorPlaces?
  let attentionOutput: BinaryLinearPlaces
  let attentionNormalisation: NormalisationPlaces
  let intermediate: BinaryLinearPlaces
  let output: BinaryLinearPlaces
  let outputNormalisation: NormalisationPlaces
}

/// The places of all tensors, looked up by name once, so that the hot path does no lookups.
struct ModelPlaces {
  let wordEmbeddings: Range<Int>  // V×H
  let positionEmbeddings: Range<Int>  // maximum length × H
  let tokenTypeEmbeddings: Range<Int>  // 2×H
  let embeddingNormalisation: NormalisationPlaces
  let layers: [LayerPlaces]
  let pooler: BinaryLinearPlaces
  let poolerNormalisation: NormalisationPlaces
  let predictionBias: Range<Int>  // V
  let predictionTransform: LinearPlaces
  let predictionNormalisation: NormalisationPlaces
  let sequenceRelationship: LinearPlaces
  /// All binary matrices, by their numbers.
  let binaryLinears: [BinaryLinearPlaces]

  init(_ layout: ParameterLayout) {
    var binary: [BinaryLinearPlaces] = []
    func linear(_ name: String) -> LinearPlaces {
      let weight = layout[name + ".weight"]
      return LinearPlaces(
        outputs: weight.shape[0], inputs: weight.shape[1], weight: weight.range,
        bias: layout[name + ".bias"].range)
    }
    func binaryLinear(_ name: String) -> BinaryLinearPlaces {
      let weight = layout[name + ".weight"]
      let places = BinaryLinearPlaces(
        index: binary.count, outputs: weight.shape[0], inputs: weight.shape[1], weight: weight.range,
        bias: layout[name + ".bias"].range, shift: layout[name + ".move.bias"].range,
        step: layout[name + ".input_clip_val"].offset)
      binary.append(places)
      return places
    }
    func normalisation(_ name: String) -> NormalisationPlaces {
      NormalisationPlaces(weight: layout[name + ".weight"].range, bias: layout[name + ".bias"].range)
    }
    wordEmbeddings = layout["bert.embeddings.word_embeddings.weight"].range
    positionEmbeddings = layout["bert.embeddings.position_embeddings.weight"].range
    tokenTypeEmbeddings = layout["bert.embeddings.token_type_embeddings.weight"].range
    embeddingNormalisation = normalisation("bert.embeddings.LayerNorm")
    layers = (0..<layout.configuration.layers).map { index in
      let block = "bert.encoder.layer.\(index)."
      let attention = block + "attention.self."
      let estimators: EstimatorPlaces? =
        layout.configuration.estimatorRank == 0
        ? nil
        : EstimatorPlaces(
          queryMain: linear(attention + "q_m"), queryResidual: linear(attention + "q_p"),
          keyMain: linear(attention + "k_m"), keyResidual: linear(attention + "k_p"),
          valueResidual: linear(attention + "v_p"))
      return LayerPlaces(
        query: binaryLinear(attention + "query"), key: binaryLinear(attention + "key"),
        value: binaryLinear(attention + "value"), queryStep: layout[attention + "clip_query"].offset,
        keyStep: layout[attention + "clip_key"].offset, valueStep: layout[attention + "clip_value"].offset,
        probabilityStep: layout[attention + "clip_attn"].offset, estimators: estimators,
        attentionOutput: binaryLinear(block + "attention.output.dense"),
        attentionNormalisation: normalisation(block + "attention.output.LayerNorm"),
        intermediate: binaryLinear(block + "intermediate.dense"),
        output: binaryLinear(block + "output.dense"),
        outputNormalisation: normalisation(block + "output.LayerNorm"))
    }
    pooler = binaryLinear("bert.pooler.dense")
    poolerNormalisation = normalisation("bert.pooler.LayerNorm")
    predictionBias = layout["cls.predictions.bias"].range
    predictionTransform = linear("cls.predictions.transform.dense")
    predictionNormalisation = normalisation("cls.predictions.transform.LayerNorm")
    sequenceRelationship = linear("cls.seq_relationship")
    binaryLinears = binary
  }
}
