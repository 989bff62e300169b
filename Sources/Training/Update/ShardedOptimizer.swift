import BinaryModel
import Collectives
import Kernels
import Parameters
import Planning

/// The update of a step, shared among the ranks.
///
/// Sharded, each rank owns a slice of the flat vector: its latent weights and the moments of AdamW for it. After the
/// gradient is reduced onto the owners, each clips, updates and packs its slice, and the ranks gather signs and sums of the
/// binary matrices, and float32 of everything else. Replicated, all ranks get the whole gradient, and all do the same
/// update of everything. Both give the same bits.
///
/// Legend: W ranks, E elements of the flat vector.
struct ShardedOptimizer: ~Copyable {
  let exchange: UpdateExchange
  /// The elements that this rank owns, and gives to a checkpoint, as runs in flat order.
  let slice: [Range<Int>]
  /// The elements that it updates: the slice, or all of replicated state.
  let updated: [Range<Int>]
  /// What the optimizer keeps, in the order of `AdamW.stateNames`: of `updated`, one run after the other.
  private let first: FloatBuffer
  private let second: FloatBuffer
  /// The gradient of a step.
  let gradient: GradientSum
  /// The sums of all pieces.
  private let sums: FloatBuffer
  /// For each thread: a chunk of the gradient in float32.
  private let scratch: FloatBuffer
  /// The parameters' parts within `updated` and a chunk, and where the moments of each lie.
  private let segments: [(range: Range<Int>, moments: Range<Int>, parameter: Parameter)]

  /// - Parameter trained: the elements that are trained; others stay as they are.
  /// - Cost: memory of 8·E / W bytes, 8·E of replicated state, and of the integers of the gradient. Call `startThreads` before.
  init(layout: ParameterLayout, trained: Range<Int>, exchange: UpdateExchange, rank: Int) {
    self.exchange = exchange
    let slice = exchange.partition.slice(of: rank)
    let updated = exchange.updated(by: rank)
    self.slice = slice
    self.updated = updated
    first = FloatBuffer(count: updated.elementCount)
    second = FloatBuffer(count: updated.elementCount)
    gradient = exchange.makeSum(rank: rank)
    scratch = FloatBuffer(count: threadCount * SlicePartition.chunkSize)
    sums = FloatBuffer(
      count: exchange.packed.pieces.count * PackedLayout.PieceSums.size / MemoryLayout<Float>.size)
    let parameters = layout.parameters.filter { trained.contains($0.offset) }
    segments = parameters.flatMap { parameter in
      updated.flatMap { exchange.partition.chunks(in: $0) }.compactMap { chunk in
        let range = parameter.range.clamped(to: chunk)
        return range.isEmpty ? nil : (range, Self.place(of: range, in: updated), parameter)
      }
    }
  }

  /// Where the moments of the elements `range` lie, which are part of one of `runs`.
  private static func place(of range: Range<Int>, in runs: [Range<Int>]) -> Range<Int> {
    var start = 0
    for run in runs {
      if run.clamped(to: range) == range {
        let first = start + range.lowerBound - run.lowerBound
        return first..<first + range.count
      }
      start += run.count
    }
    preconditionFailure("elements \(range) are not updated here")
  }

  /// What is kept of the elements `range`, which are part of one run of `updated`, by its name.
  func state(of range: Range<Int>) -> [String: FloatView] {
    let own = Self.place(of: range, in: updated)
    return Dictionary(uniqueKeysWithValues: zip(AdamW.stateNames, [first.view[own], second.view[own]]))
  }

  /// Clips by the global norm, updates, and publishes, once `gradient` has the totals.
  ///
  /// - Parameters:
  ///   - parameters: the flat vector. Sharded, latent weights of other owners are never read or written.
  ///   - model: gets the new binary weights.
  ///   - step: the number of the update, from 1.
  ///   - rates: the learning rates of the step sizes and of all else.
  ///   - clip: the largest norm; 0 does not clip.
  ///   - clock: told when the ranks exchange, and when this one works.
  /// - Returns: the global 2-norm of the gradient before clipping.
  /// - Cost: sends what `UpdateExchange.traffic` says; updates E / W elements, E of replicated state.
  func update<Goal: Objective>(
    _ parameters: FloatView, model: inout Model<Goal>, step: Int, rates: (stepSizes: Float, others: Float),
    clip: Float, weightDecay: Float, clock: inout StepClock, world: borrowing World
  ) throws(WorldError) -> Float {
    let norm = try norm(clock: &clock, world: world)
    clock.enter(.update)
    let factor = clip > 0 && norm > Double(clip) ? Float(Double(clip) / (norm + 1e-6)) : 1
    let ofStepSizes = AdamW(step: step, learningRate: rates.stepSizes, gradientFactor: factor)
    let ofOthers = AdamW(step: step, learningRate: rates.others, gradientFactor: factor)
    parallelFor(segments.count) { index, worker in
      let (range, moments, parameter) = segments[index]
      (parameter.kind == .stepSize ? ofStepSizes : ofOthers).updateSerial(
        parameters[range], gradients: read(range, worker), firstMoments: first.view[moments],
        secondMoments: second.view[moments], decay: parameter.decays ? weightDecay : 0)
    }
    try publish(parameters, model: &model, clock: &clock, world: world)
    return Float(norm)
  }

  /// The gradient of the elements `range` of one chunk, until this thread reads others.
  private func read(_ range: Range<Int>, _ worker: Int) -> FloatView {
    let start = worker * SlicePartition.chunkSize
    let values = scratch.view[start..<start + range.count]
    gradient.read(range, into: values)
    return values
  }

  /// The global 2-norm of the gradient, of which this rank has its slice.
  private func norm(clock: inout StepClock, world: borrowing World) throws(WorldError) -> Double {
    clock.enter(.update)
    let chunks = slice.flatMap { exchange.partition.chunks(in: $0) }
    var squares = [Double](repeating: 0, count: chunks.count)
    squares.withUnsafeMutableBufferPointer { squares in
      let squares = squares.baseAddress
      parallelFor(chunks.count) { index, worker in
        squares![index] = read(chunks[index], worker).sumOfSquares()
      }
    }
    clock.enter(.exchange)
    return try world.sumOfChunks(squares, partition: exchange.partition).squareRoot()
  }

  /// Gives all ranks what the model needs of the parameters that each has for its slice: signs and scales of the binary
  /// matrices, and all else in float32. Of replicated state every rank has everything, and just packs it.
  func publish<Goal: Objective>(
    _ parameters: FloatView, model: inout Model<Goal>, clock: inout StepClock, world: borrowing World
  ) throws(WorldError) {
    clock.enter(.update)
    guard exchange.synchronisation == .sharded else { return model.binarise(parameters) }
    let all = sums.view.bytes
    for (run, own) in zip(slice, exchange.sumParts[world.rank]) {
      model.sumPieces(
        exchange.packed.pieces(in: run), of: parameters,
        into: UnsafeMutableRawBufferPointer(rebasing: all[own]))
    }
    clock.enter(.exchange)
    try world.allGather(
      [
        SharedMemory(all, parts: exchange.sumParts),
        SharedMemory(parameters.bytes, parts: exchange.realParts),
      ], through: exchange.hosts)
    clock.enter(.update)
    model.packSigns(of: slice, parameters, sums: all)
    clock.enter(.exchange)
    try world.allGather([SharedMemory(model.signBytes, parts: exchange.signParts)], through: exchange.hosts)
    clock.enter(.update)
    model.arrangeSigns()
  }
}
