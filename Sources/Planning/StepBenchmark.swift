import BinaryModel
import Collectives
import Kernels

/// Measures training steps of one rank on made-up batches, phase by phase: the work of `TrainingRun.update` without
/// reading and exchange.
///
/// Legend: V lanes of a step, B sequences of a lane, T tokens.
public struct StepBenchmark: Sendable {
  public let model: ModelConfiguration
  public let lanes: Int
  public let microBatch: Int
  public let length: Int
  public let precision: BackwardPrecision
  /// The weights of a full-precision BERT of the model's shape to distil from, or nil.
  public let teacher: String?

  public init(
    model: ModelConfiguration, lanes: Int, microBatch: Int, length: Int, precision: BackwardPrecision,
    teacher: String?
  ) {
    self.model = model
    self.lanes = lanes
    self.microBatch = microBatch
    self.length = length
    self.precision = precision
    self.teacher = teacher
  }

  /// Seconds of one step, by phase as in a run (`StepClock`).
  public struct Times: Sendable {
    public let teacher: Double
    public let forward: Double
    public let backward: Double
    public let update: Double
    public var total: Double { teacher + forward + backward + update }

    init(_ clock: StepClock) {
      teacher = clock.seconds(.teacher)
      forward = clock.seconds(.forward)
      backward = clock.seconds(.backward)
      update = clock.seconds(.update)
    }
  }

  public struct Result: Sendable {
    /// Of the fastest step.
    public let times: Times
    public let tokensPerSecond: Double
    /// The loss of the last step, so that runs can be compared.
    public let loss: Double
  }

  /// Runs one step to warm up, then `steps`, and keeps the fastest.
  ///
  /// - Cost: memory of a training rank of one.
  public func run(steps: Int) throws(ModelError) -> Result {
    let shape = ModelLayout(model, Pretraining())
    let layout = shape.parameters
    let parameters = FloatBuffer(count: layout.elementCount)
    let first = FloatBuffer(count: layout.elementCount)
    let second = FloatBuffer(count: layout.elementCount)
    let total = FloatBuffer(count: layout.elementCount)
    let sum = UpdateExchange(
      layout: layout, hosts: HostLayout(ranks: 1, perHost: 1), synchronisation: .sharded, format: .int32
    ).makeSum(rank: 0)
    let gradient = LaneGradient(shape, format: .int32, into: sum)
    Initialisation.fill(parameters.view, layout: layout, seed: 1)
    let slice = TokenBatch.sliceSequences(of: microBatch, length: length)
    var network = Model(
      shape, sequences: slice, length: length, slices: microBatch / slice, backwardPrecision: precision,
      seed: 1)
    let batches = (0..<lanes).map { batch(seed: UInt32($0)) }
    network.binarise(parameters.view)
    Model.fit(parameters.view, layout: shape, batch: batches[0].tokens, rule: .published)
    var teacher: FullPrecisionTeacher?
    if let path = self.teacher {
      let weights = try TeacherWeights(PretrainedWeights(path: path), student: shape)
      teacher = FullPrecisionTeacher(weights, configuration: model, sequences: slice, length: length)
    }
    let dropout = model.dropout > 0 ? Dropout(rate: model.dropout, seed: 1) : nil
    let divisors = network.divisors(of: batches)

    var best: Times?
    var loss = 0.0
    for step in 0...steps {
      var clock = StepClock()
      var sums = shape.objective.noLosses(isDistilled: teacher != nil)
      clock.enter(.update)
      sum.clear()
      for batch in batches {
        clock.enter(.backward)
        for slice in batch.slices(of: slice) {
          clock.enter(.teacher)
          let output = teacher?.forward(slice.tokens)
          network.train(
            parameters.view, gradients: gradient.values.view, sinks: gradient.sinks,
            batch: slice, divisors: divisors, dropout: dropout,
            teacher: output, into: &sums
          ) { clock.note($0) }
          gradient.endSlice()
        }
        clock.enter(.update)
        gradient.endLane()
      }
      loss = sums.total
      parallelPanels(total.count, SlicePartition.chunkSize) { range, _ in
        sum.read(range, into: total.view[range])
        _ = total.view[range].sumOfSquares()
      }
      AdamW(step: step + 1, learningRate: 1e-4, gradientFactor: 1).update(
        parameters.view, gradients: total.view, firstMoments: first.view, secondMoments: second.view,
        decay: 0.01)
      network.binarise(parameters.view)
      clock.enter(.reading)
      let times = Times(clock)
      if step > 0, times.total < best?.total ?? .infinity { best = times }
    }
    let times = best!
    return Result(
      times: times, tokensPerSecond: Double(lanes * microBatch * length) / times.total, loss: loss)
  }

  /// Random tokens, 15 % of them to be predicted, no padding.
  func batch(seed: UInt32) -> PretrainingBatch {
    var random = CounterRandom(seed: 1, purpose: .masking).stream(seed)
    let tokens = microBatch * length
    var labels = [Int32](repeating: PretrainingLabels.ignored, count: tokens)
    let ids = (0..<tokens).map { _ in Int32(random.next(below: UInt32(model.vocabularySize))) }
    for token in 0..<tokens where random.unit() < 0.15 { labels[token] = ids[token] }
    return PretrainingBatch(
      sequences: microBatch, length: length, inputIDs: ids,
      tokenTypeIDs: (0..<tokens).map { $0 % length < length / 2 ? 0 : 1 },
      lengths: Array(repeating: Int32(length), count: microBatch), labels: labels,
      nextSentenceLabels: (0..<microBatch).map { Int32($0 % 2) },
      sampleIDs: (0..<microBatch).map { UInt64(seed) << 32 | UInt64($0) }, epoch: 0)
  }
}
