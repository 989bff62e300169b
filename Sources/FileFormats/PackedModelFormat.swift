/// The names in a packed model file (docs/inference.md): a safetensors file whose binary tensors are U8, with the shapes
/// that they stand for in the metadata. Writer and reader share them.
public enum PackedModelFormat {
  /// The value of the metadata's `format`.
  public static let name = "bipft"
  /// The value of `version` that is written for models whose activations are signs.
  public static let version = 2
  /// That of models whose activations are more: it adds `activationBitsKey` and `activationKey`, and has the biases and shifts
  /// of version 1 in place of thresholds.
  public static let levelsVersion = 3
  /// The values that are read. Version 1 has biases and shifts in place of thresholds.
  public static let readableVersions = 1...levelsVersion

  public static let formatKey = "format"
  public static let versionKey = "version"
  public static let headKey = "head"
  /// Names of the classes that a classifier tells apart, in the order of its outputs: an array of JSON; empty where it
  /// tells a number.
  public static let labelsKey = "labels"
  /// How many texts a classifier was trained on in a sequence: 1 or 2.
  public static let textsKey = "texts"
  /// What a classifier reads of a sequence, a `SequencePooling`; `first` where it is left out.
  public static let poolingKey = "pooling"
  /// Tokens of a sequence in training.
  public static let sequenceLengthKey = "sequence_length"
  /// The configuration of the run, as YAML, without the folders of its machine.
  public static let configurationKey = "configuration"

  /// Bits of an activation, 1, 2, 4 or 8; and the feed-forward activation. In files of `levelsVersion`; else 1 and gelu.
  public static let activationBitsKey = "activation_bits"
  public static let activationKey = "ffn_activation"

  /// What stands between the two linear layers of a block's feed-forward half.
  public enum Activation: String, CaseIterable, Sendable {
    /// x·Φ(x), the erf form: BERT and BiPFT.
    case gelu
    /// max(x, 0): BiT (Liu et al. 2022), whose next binariser takes unsigned values.
    case relu
  }

  /// A size of the model, by its key in the metadata.
  public enum Size: String, CaseIterable, Sendable {
    case vocabulary = "vocabulary_size"
    case hidden = "hidden_size"
    case layers
    case heads
    case intermediate = "intermediate_size"
    case maximumLength = "maximum_length"
    case estimatorRank = "estimator_rank"
  }

  /// What a model has on top of its encoder.
  public enum Head: String, CaseIterable, Sendable {
    case none
    /// Logits of the words at masked positions, and where training had it whether the second text follows the first.
    case words = "mlm"
    /// What a fine-tuned model tells of a sequence: logits of classes, or a number.
    case classifier
  }

  /// How tensors that are not binary are kept. Single numbers are always float32.
  public enum Reals: String, CaseIterable, Sendable {
    /// All float16: the smallest.
    case float16
    /// Large tables as whole numbers of 16 bits with a unit for each row, all else float32. The table is the positions or,
    /// in a file with the head for words, the latent word embedding alone, so that its hidden states are the trained ones.
    case int16
    /// All float32.
    case float32
  }

  /// The tensor of the units of a table of whole numbers, F32 [rows].
  public static func units(_ table: String) -> String { table + ".units" }

  /// The metadata's key for the shape that the binary tensor `name` stands for: `"768,3072"`.
  public static func shapeKey(_ name: String) -> String { "shape." + name }

  /// The tensor with the tokens of the vocabulary, each followed by a line feed.
  public static let vocabulary = "vocabulary"

  /// The linear layer of a classifier.
  public static let classifier = "classifier"
  /// That of next-sentence prediction: output 0 where the second text follows the first, 1 where it does not.
  public static let nextSentence = "cls.seq_relationship"

  /// The tensor with the bits of `name`, and the one with what they are multiplied by.
  public static func bits(_ name: String) -> String { name + ".bits" }
  public static func scale(_ name: String) -> String { name + ".scale" }

  /// The tensor of a layer's thresholds, I16: [outputs], or [2, outputs] where there are two for each; and the one of the
  /// bits that they do not tell, I32 [n, 2], which is there unless n is 0.
  public static func thresholds(_ layer: String) -> String { layer + ".thresholds" }
  public static func thresholdExceptions(_ layer: String) -> String { layer + ".threshold_exceptions" }

  /// The layers of the transformer block `prefix` whose outputs are bits, and for each the layer that shifts its gelu.
  public static func bitLayers(_ prefix: String) -> [(name: String, reader: String?)] {
    ["query", "key", "value"].map { (prefix + "attention.self." + $0, nil) }
      + [(prefix + "intermediate.dense", prefix + "output.dense")]
  }

  /// The U8 tensor of a binary matrix with these rows (outputs) and columns (inputs): groups of 8 rows, words of 64
  /// columns, row within the group, byte of the word.
  public static func matrixShape(rows: Int, columns: Int) -> [Int] {
    [(rows + 7) / 8, (columns + 63) / 64, 8, 8]
  }

  /// The U8 tensor of a binary table, whose rows are read one by one.
  public static func tableShape(rows: Int, columns: Int) -> [Int] { [rows, (columns + 63) / 64 * 8] }
}
