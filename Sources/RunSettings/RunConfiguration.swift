import BinaryModel
import Collectives
import FileFormats

/// Everything that defines a pretraining run, read from one YAML file and checked.
///
/// Values exist only as `RunConfiguration.load` or `parse` made them, so every one lies in its range and all
/// of them fit together. To change one, pass an override.
public struct RunConfiguration: Equatable, Sendable {
  /// Seeds everything random: initial weights, order, pairs, masks, dropout.
  public internal(set) var seed: UInt64
  /// Threads of each rank; nil (`auto` in the file) takes the rank's share of the cores. Never changes a result.
  public internal(set) var threads: Int?
  /// Who keeps latent weights and moments. Never changes a result.
  public internal(set) var synchronisation: Synchronisation
  /// The integers in which gradients are added. Another format is another run.
  public internal(set) var gradientFormat: GradientFormat
  /// Which rank does which lane of a step. Never changes a result.
  public internal(set) var lanes: LaneAssignment
  /// Seconds of wall clock after which the job has saved and ended, as if a stop signal had come; nil for no limit.
  public internal(set) var stopAfter: Int?
  /// Seconds without progress after which the watchdog ends the job; 0 does not watch.
  public internal(set) var hangTimeout: Int
  /// What to train for, by its name in `Objectives`.
  public internal(set) var objective: String
  /// A safetensors file of a full-precision BERT to start from; nil draws the weights from the seed.
  public internal(set) var initialWeights: String?
  /// A safetensors file of a full-precision BERT to distil from; nil trains without distillation.
  public internal(set) var teacher: String?
  public internal(set) var model: Model
  public internal(set) var estimators: Estimators
  public internal(set) var data: Data
  public internal(set) var task: Task
  public internal(set) var sentence: Sentence
  public internal(set) var training: Training
  public internal(set) var evaluation: Evaluation
  public internal(set) var checkpoint: Checkpoint

  /// The shape of the model, as in `ModelConfiguration`; the vocabulary's size comes from the corpus.
  public struct Model: Equatable, Sendable {
    public internal(set) var hiddenSize: Int
    public internal(set) var layers: Int
    public internal(set) var heads: Int
    public internal(set) var intermediateSize: Int
    public internal(set) var maximumLength: Int
    public internal(set) var estimatorRank: Int
    public internal(set) var dropout: Float
    public internal(set) var linearRank: Int
    public internal(set) var precision: ModelPrecision
    public internal(set) var activationBits: Int
    public internal(set) var feedForwardActivation: FeedForwardActivation
    public internal(set) var stepSizeFit: StepSizeFit
    public internal(set) var gradientWindow: GradientWindow
  }

  /// How the residual estimators, of rank `Model.estimatorRank`, begin.
  public struct Estimators: Equatable, Sendable {
    public internal(set) var fit: EstimatorFit
    /// Whether each head has its own.
    public internal(set) var perHead: Bool
  }

  /// Where samples come from.
  public struct Data: Equatable, Sendable {
    /// A folder made by `bipft corpus build`.
    public internal(set) var corpus: String
    /// Tokens of a sample, padding included.
    public internal(set) var sequenceLength: Int
  }

  /// What is told of texts, where the objective is `classification` or `regression`; `Data.corpus` is the folder of the files.
  public struct Task: Equatable, Sendable {
    /// A task of GLUE; nil for one's own files, whose columns are named below.
    public internal(set) var name: String?
    /// The columns of a text, of a second one if there are two, and of what is to be told.
    public internal(set) var text: String?
    public internal(set) var secondText: String?
    public internal(set) var label: String?
    /// The vocabulary of the model.
    public internal(set) var vocabulary: String?
    /// Passes over the training rows, of which `bipft finetune` makes steps; nil in the configuration of a run, which has
    /// them.
    public internal(set) var epochs: Int?
    /// Train on as many rows of the training file, chosen by a keyed permutation, the same for every seed; nil takes all.
    public internal(set) var trainingRows: Int?
    /// What of a sequence the head reads.
    public internal(set) var pooling: SequencePooling
    /// A run or checkpoint of the same task at full precision to distil from, its classifier included; nil for none.
    public internal(set) var teacher: String?
    /// What of it is to be matched.
    public internal(set) var distillation: DistillationTarget
  }

  /// How embeddings are matched, where the objective is `sentence`.
  public struct Sentence: Equatable, Sendable {
    /// Of the losses: `cosine_loss`, `similarity_loss`, `hidden_loss`.
    public internal(set) var cosineWeight: Float
    public internal(set) var similarityWeight: Float
    public internal(set) var hiddenWeight: Float
    /// By which cosines are divided where they are compared.
    public internal(set) var temperature: Float
    /// A folder with pairs of texts and how similar they are, that evaluations look at; nil for none.
    public internal(set) var evaluation: String?
  }

  /// Batches and the optimizer.
  public struct Training: Equatable, Sendable {
    /// Optimizer steps of the whole run; 0 fits the step sizes, evaluates, saves and ends.
    public internal(set) var steps: Int
    /// Sequences of one optimizer step.
    public internal(set) var globalBatch: Int
    /// Sequences of one forward and backward pass.
    public internal(set) var microBatch: Int
    /// The highest learning rate, reached at the end of the warm-up.
    public internal(set) var learningRate: Float
    /// The same of the step sizes; nil for that of all else.
    public internal(set) var stepSizeLearningRate: Float?
    public internal(set) var warmupSteps: Int
    /// What the rate does after the warm-up.
    public internal(set) var decay: LearningRateDecay
    public internal(set) var weightDecay: Float
    /// The largest global norm of the gradient; 0 does not clip.
    public internal(set) var gradientClip: Float
    /// How the distances from the teacher's hidden states are put together.
    public internal(set) var hiddenLoss: HiddenLoss
    /// How gradients enter the backward products of the binary layers.
    public internal(set) var backwardPrecision: BackwardPrecision
    /// Steps skipped one after the other (a loss or gradient that is not finite, or a loss spike) that end the run; 0
    /// allows none.
    public internal(set) var maximumSkippedSteps: Int
    /// A loss this many standard deviations above the mean of the last ones is a spike, whose step is skipped; 0 skips
    /// none.
    public internal(set) var spikeZScore: Float
    /// Steps from one comparison of the ranks' weights to the next; 0 compares never.
    public internal(set) var replicaCheckEvery: Int
  }

  /// Evaluation on the held-out documents.
  public struct Evaluation: Equatable, Sendable {
    /// Steps from one evaluation to the next.
    public internal(set) var every: Int
    /// Held-out sequences that an evaluation reads.
    public internal(set) var sequences: Int
    /// Evaluations one after the other that are no better than the best before, after which the run ends; 0 goes on to the
    /// last step.
    public internal(set) var patience: Int
  }

  /// Saving the run.
  public struct Checkpoint: Equatable, Sendable {
    /// Steps from one checkpoint to the next.
    public internal(set) var every: Int
    /// How many of the newest checkpoints stay.
    public internal(set) var keep: Int
    /// Checkpoints whose step is a multiple of this stay as well; 0 keeps none for that.
    public internal(set) var keepEvery: Int
    /// Whether the checkpoint of the best evaluation stays as well; a better evaluation makes one.
    public internal(set) var keepBest: Bool
  }

  /// V: the micro-batches of a step.
  public var laneCount: Int { training.globalBatch / training.microBatch }

  /// Whether there is something to distil from.
  public var hasTeacher: Bool { teacher != nil || task.teacher != nil }

  /// Sequences of a micro-batch that are computed at a time (`TokenBatch.sliceSequences`): its activations take memory.
  public var sliceSequences: Int {
    TokenBatch.sliceSequences(of: training.microBatch, length: data.sequenceLength)
  }

  /// The same, for an objective that may want a micro-batch whole.
  public func sliceSequences(for objective: some Objective) -> Int {
    objective.comparesSequences ? training.microBatch : sliceSequences
  }

  /// The model of this run over a corpus with `vocabularySize` tokens.
  public func modelConfiguration(vocabularySize: Int) -> ModelConfiguration {
    ModelConfiguration(
      vocabularySize: vocabularySize, hiddenSize: model.hiddenSize, layers: model.layers, heads: model.heads,
      intermediateSize: model.intermediateSize, maximumLength: model.maximumLength,
      estimatorRank: model.estimatorRank, dropout: model.dropout, linearRank: model.linearRank,
      precision: model.precision, gradientWindow: model.gradientWindow,
      hasEstimatorsPerHead: estimators.perHead, activationBits: model.activationBits,
      feedForwardActivation: model.feedForwardActivation, hiddenLoss: training.hiddenLoss)
  }
}

// MARK: - Text

extension RunConfiguration {
  /// One key with its value as the YAML file would say it.
  public struct Setting: Equatable, Sendable {
    public let key: String
    public let value: String
  }

  /// All keys in their fixed order.
  public var settings: [Setting] {
    ConfigurationKey.all.map { Setting(key: $0.name, value: $0.text(self)) }
  }

  /// The keys that define the run's numbers: all but those that say how it is kept and watched.
  public var definingSettings: [Setting] {
    settings.filter { !ConfigurationKey.operational.contains($0.key) }
  }

  /// The whole configuration as YAML, every key in its fixed order; reads back to an equal configuration.
  public var canonicalText: String {
    var text = ""
    var openSection: String?
    for key in ConfigurationKey.all {
      if let section = key.section, section != openSection {
        text += "\n\(section):\n"
        openSection = section
      }
      text += "\(key.section == nil ? "" : "  ")\(key.leaf): \(key.text(self))\n"
    }
    return text
  }
}

/// What the learning rate does after the warm-up.
public enum LearningRateDecay: String, CaseIterable, Sendable {
  /// Falls on a line, to zero after the last step.
  case linear
  case constant
}

/// Who keeps the state of the optimizer. Both give the same bits.
public enum Synchronisation: String, CaseIterable, Sendable {
  /// Each rank keeps the latent weights and moments of its slice; after an update the ranks exchange signs, and float32
  /// only of what is used as it is.
  case sharded
  /// Every rank keeps and updates everything; the ranks exchange gradients. For comparison.
  case replicated
}

/// Which rank does which lane of a step. Both give the same bits.
public enum LaneAssignment: String, CaseIterable, Sendable {
  /// Each has its own run of lanes.
  case fixed
  /// A rank that is done with its own takes those that others have not begun.
  case dynamic
}
