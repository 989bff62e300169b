import BinaryModel
import Collectives
import Foundation
import Kernels
import Parameters
import RunSettings

/// A brief look at what one core of this machine does with the model of a run, in the processor time of the calling thread.
///
/// The layers of a model are alike: models of one and of two layers are measured, with one slice of a micro-batch, and the rest is
/// laid on top. A teacher counts with its products.
public struct CoreMeasurement: Sendable {
  public let speed: CoreSpeed
  /// Seconds that it took.
  public let seconds: Double

  private static let mostLayers = 2

  /// Measures on the calling thread, before `startThreads`.
  ///
  /// - Parameter tokens: a rate of forward and backward that is known; nil measures it.
  /// - Cost: memory of a training rank with a model of two layers; seconds for BERT-base.
  public init(
    _ configuration: RunConfiguration, vocabularySize: Int, tokensPerSecond: Double? = nil
  ) {
    precondition(threadCount == 1, "one core is measured by one thread")
    let start = ContinuousClock.now
    let model = configuration.modelConfiguration(vocabularySize: vocabularySize)
    let layers = min(model.layers, Self.mostLayers)
    var shallow = Sample(configuration, model, layers: layers)
    var tokens = tokensPerSecond ?? 0
    if tokensPerSecond == nil {
      var seconds = shallow.laneSeconds()
      if model.layers > layers {
        var single = Sample(configuration, model, layers: 1)
        let first = single.laneSeconds()
        seconds = first + Double(model.layers - 1) * max(0, seconds - first)
      }
      seconds += shallow.teacherSeconds(configuration, model)
      tokens = Double(shallow.tokens) / seconds
    }
    speed = CoreSpeed(
      tokens: tokens, updates: shallow.updatesPerSecond(), roundings: shallow.roundingsPerSecond(),
      additions: shallow.additionsPerSecond(), copies: shallow.copiesPerSecond(),
      arrangements: shallow.arrangementsPerSecond())
    self.seconds = start.duration(to: .now) / .seconds(1)
  }

  /// A model of few layers with all that a step of one rank needs.
  private struct Sample: ~Copyable {
    private let shape: ModelLayout<Pretraining>
    private var layout: ParameterLayout { shape.parameters }
    private let packed: PackedLayout
    private let format: GradientFormat
    private let batch: PretrainingBatch
    private let dropout: Dropout?
    private let parameters: FloatBuffer
    private let gradients: FloatBuffer
    private let lane: LaneGradient
    private let first: FloatBuffer
    private let second: FloatBuffer
    private var network: PretrainingModel

    init(_ configuration: RunConfiguration, _ model: ModelConfiguration, layers: Int) {
      var few = model
      few.layers = layers
      let shape = ModelLayout(few, Pretraining())
      let layout = shape.parameters
      self.shape = shape
      packed = PackedLayout(layout)
      format = configuration.gradientFormat
      let sequences = configuration.sliceSequences
      let length = configuration.data.sequenceLength
      batch = StepBenchmark(
        model: few, lanes: 1, microBatch: sequences, length: length,
        precision: configuration.training.backwardPrecision, teacher: nil
      ).batch(seed: 0)
      dropout = model.dropout > 0 ? Dropout(rate: model.dropout, seed: configuration.seed) : nil
      parameters = FloatBuffer(count: layout.elementCount)
      gradients = FloatBuffer(count: layout.elementCount)
      let sum = UpdateExchange(
        layout: layout, hosts: HostLayout(ranks: 1, perHost: 1), synchronisation: .sharded, format: format
      ).makeSum(rank: 0)
      lane = LaneGradient(shape, format: format, into: sum)
      first = FloatBuffer(count: layout.elementCount)
      second = FloatBuffer(count: layout.elementCount)
      Initialisation.fill(parameters.view, layout: layout, seed: configuration.seed)
      network = Model(
        shape, sequences: sequences, length: length,
        backwardPrecision: configuration.training.backwardPrecision, seed: configuration.seed)
      network.binarise(parameters.view)
    }

    var tokens: Int { batch.sequences * batch.length }

    /// Of one micro-batch, forward and backward.
    mutating func laneSeconds() -> Double {
      fastest {
        var losses = network.layout.objective.noLosses(isDistilled: false)
        network.train(
          parameters.view, gradients: lane.values.view, sinks: lane.sinks, batch: batch,
          divisors: network.divisors(of: [batch]),
          dropout: dropout, into: &losses)
      }
    }

    /// Of the teacher's forward pass over as many tokens: 2 operations a weight and token, and attention.
    func teacherSeconds(_ configuration: RunConfiguration, _ model: ModelConfiguration) -> Double {
      guard configuration.teacher != nil else { return 0 }
      let (rows, size, length) = (tokens, model.hiddenSize, batch.length)
      let input = MatrixView(first.view[0..<rows * size], rows: rows, columns: size)
      var arena = Arena()
      let weight = Bfloat16Matrix(rows: size, columns: size, in: &arena)
      weight.pack(MatrixView(parameters.view[0..<size * size], rows: size, columns: size))
      let output = MatrixView(arena.floats(rows * size), rows: rows, columns: size)
      let product = withExtendedLifetime(arena) {
        fastest { bfloat16Product(input, weight, bias: nil, into: output) }
      }
      let perToken = 4 * size * size + 2 * size * model.intermediateSize + 2 * length * size
      return product * Double(model.layers * perToken) / Double(size * size)
    }

    /// AdamW, the norm, and signs and means.
    mutating func updatesPerSecond() -> Double {
      let all = 0..<layout.elementCount
      let sums = FloatBuffer(
        count: packed.pieces.count * PackedLayout.PieceSums.size / MemoryLayout<Float>.size)
      let step = AdamW(step: 1, learningRate: 1e-4, gradientFactor: 1)
      return Double(all.count)
        / fastest {
          _ = gradients.view.sumOfSquares()
          step.update(
            parameters.view, gradients: gradients.view, firstMoments: first.view, secondMoments: second.view,
            decay: 0.01)
          network.sumPieces(packed.pieces.indices, of: parameters.view, into: sums.view.bytes)
          network.packSigns(of: [all], parameters.view, sums: sums.view.bytes)
        }
    }

    /// Of what is kept of a lane's gradient until it is done.
    func roundingsPerSecond() -> Double {
      let kept = LaneGradient.keptCount(shape, format)
      return Double(kept)
        / fastest { lane.endLane() }
    }

    func additionsPerSecond() -> Double {
      Double(layout.elementCount) / fastest { first.view.add(second.view) }
    }

    func copiesPerSecond() -> Double {
      Double(layout.elementCount * MemoryLayout<Float>.size)
        / fastest { first.view.bytes.copyMemory(from: UnsafeRawBufferPointer(second.view.bytes)) }
    }

    func arrangementsPerSecond() -> Double {
      Double(8 * packed.signByteCount) / fastest { network.arrangeSigns() }
    }
  }
}

/// Processor time of the calling thread.
private func processorSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Processor time of the faster of two, after one to warm up.
private func fastest(_ body: () -> Void) -> Double {
  body()
  return (0..<2).map { _ in
    let start = processorSeconds()
    body()
    return max(processorSeconds() - start, 1e-9)
  }.min()!
}
