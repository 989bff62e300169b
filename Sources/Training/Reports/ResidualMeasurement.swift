import BinaryModel
import Corpora
import DurableFiles
import Kernels
import RunSettings

/// What binarisation throws away in each layer and head of a trained model, on held-out text: `bipft residuals`.
public struct ResidualMeasurement: Sendable {
  public let checkpoint: String
  public let step: Int
  public let model: ModelConfiguration
  public let sequences: Int
  /// T
  public let sequenceLength: Int
  public let layers: [LayerResiduals]

  /// Measures on one batch of held-out sequences, those that the run is evaluated on.
  ///
  /// - Parameters:
  ///   - source: a run or a checkpoint; of pretraining, whose samples are drawn from `corpus`.
  ///   - sequences: how many, at least 2 where `ranks` are asked for.
  ///   - ranks: see `Model.residuals`.
  ///   - report: receives a line for each checkpoint that is skipped since it is damaged.
  /// - Throws: errors of checkpoints, weights and corpora; `TrainingError` for a corpus with another vocabulary, and for a model
  ///   at full precision.
  public init(
    source: String, choice: ModelChoice, corpus folder: String, sequences: Int, ranks: [Int], perHead: Bool,
    report: (String) -> Void
  ) throws {
    let corpus = try Corpus(directory: folder)
    let source = try ExportSource(source, choice, vocabulary: folder + "/vocab.txt", report: report)
    let configuration = try RunConfiguration.parse(
      source.configuration.canonicalText, file: source.folder,
      overrides: ["evaluation.sequences=\(sequences)"])
    model = configuration.modelConfiguration(vocabularySize: source.model.vocabularySize)
    guard model.precision.hasBinaryActivations else {
      throw TrainingError.unreadable(
        path: source.folder, reason: "is a model at full precision, which throws nothing away")
    }
    let samples = try PretrainingSamples(corpus, split: .heldOut, configuration: configuration)
    let ids = samples.spread(sequences)
    let layout = ModelLayout(model, Pretraining())
    let parameters = FloatBuffer(count: layout.parameters.elementCount)
    Initialisation.fill(parameters.view, layout: layout.parameters, seed: 0)
    _ = try Initialisation.load(
      PretrainedWeights(path: source.weightsPath), into: parameters.view, layout: layout)
    checkpoint = source.folder
    step = source.state.step
    self.sequences = ids.count
    sequenceLength = configuration.data.sequenceLength
    layers = Model.residuals(
      parameters.view, layout: layout, batch: try samples.batch(ids, epoch: 0).tokens, ranks: ranks,
      perHead: perHead)
  }

  /// What estimators of a rank add to each layer: parameters, and multiplications a token for T tokens a sequence.
  ///
  ///     shared:   (4r + 1)·(H + 1) parameters, (4r + 1)·H + 2r·T multiplications
  ///     per head: h times that for the scores
  public func cost(rank: Int, perHead: Bool, length: Int) -> (parameters: Int, multiplications: Int) {
    let maps = 4 * rank * (perHead ? model.heads : 1) + 1
    let scores = 2 * rank * length * (perHead ? model.heads : 1)
    return (maps * (model.hiddenSize + 1), maps * model.hiddenSize + scores)
  }
}
