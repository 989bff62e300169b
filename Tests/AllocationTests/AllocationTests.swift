import BinaryModel
import CAllocationCount
import Kernels
import LeastSquares
import Testing

/// The model's part of a training step (packing, forward, backward, AdamW) allocates nothing on one thread once it is warm:
/// all its memory is there from the start. (With more threads each parallel loop allocates its closure.) What is around
/// the model in a run, batches, exchange and records, allocates in every step, and is not counted here.
@Suite(.serialized) struct AllocationTests {
  private static func configuration(
    _ precision: ModelPrecision, bits: Int, _ activation: FeedForwardActivation
  ) -> ModelConfiguration {
    ModelConfiguration(
      vocabularySize: 300, hiddenSize: 128, layers: 2, heads: 2, intermediateSize: 256, maximumLength: 32,
      estimatorRank: precision == .full ? 0 : 1, dropout: 0.1, precision: precision,
      activationBits: bits, feedForwardActivation: activation)
  }

  private static let counted = ConditionTrait.enabled(
    "SKIPPED: allocations cannot be counted here (AddressSanitizer, or no GNU C library)"
  ) { ac_is_possible() != 0 }

  /// The counter counts at all.
  @Test(AllocationTests.counted) func counts() async {
    await #expect(processExitsWith: .success) {
      ac_start()
      let values = [Int](repeating: 1, count: Int.random(in: 1000...2000))
      let count = ac_stop()
      precondition(count >= 1 && values.count >= 1000, "\(count) allocations")
    }
  }

  /// Forward, backward and update, in a process of its own: threads of other tests would be counted too.
  @Test(AllocationTests.counted) func stepInFloat32() async {
    await #expect(processExitsWith: .success) { Self.checkStep(.float32) }
  }
  @Test(AllocationTests.counted) func stepInInt8() async {
    await #expect(processExitsWith: .success) { Self.checkStep(.int8) }
  }
  @Test(AllocationTests.counted) func stepAtHalfBinaryPrecision() async {
    await #expect(processExitsWith: .success) { Self.checkStep(.float32, of: .halfBinary) }
  }
  @Test(AllocationTests.counted) func stepAtFullPrecision() async {
    await #expect(processExitsWith: .success) { Self.checkStep(.float32, of: .full) }
  }

  @Test(AllocationTests.counted) func stepOfTwoBits() async {
    await #expect(processExitsWith: .success) { Self.checkStep(.float32, bits: 2) }
  }
  @Test(AllocationTests.counted) func stepOfFourBitsInInt8() async {
    await #expect(processExitsWith: .success) { Self.checkStep(.int8, bits: 4) }
  }
  @Test(AllocationTests.counted) func stepOfEightBitsInBfloat16() async {
    await #expect(processExitsWith: .success) { Self.checkStep(.bfloat16, bits: 8, .relu) }
  }

  private static func checkStep(
    _ precision: BackwardPrecision, of model: ModelPrecision = .binary, bits: Int = 1,
    _ activation: FeedForwardActivation = .gelu
  ) {
    useSingleThreadedBLAS()
    let shape = ModelLayout(configuration(model, bits: bits, activation), Pretraining())
    let layout = shape.parameters
    let parameters = FloatBuffer(count: layout.elementCount)
    let gradients = FloatBuffer(count: layout.elementCount)
    let first = FloatBuffer(count: layout.elementCount)
    let second = FloatBuffer(count: layout.elementCount)
    Initialisation.fill(parameters.view, layout: layout, seed: 1)
    var model = PretrainingModel(shape, sequences: 4, length: 32, backwardPrecision: precision, seed: 1)
    let batch = batch(sequences: 4, length: 32)
    PretrainingModel.fit(parameters.view, layout: shape, batch: batch.tokens, rule: .published)
    let divisors = model.divisors(of: [batch])
    let none = shape.objective.noLosses(isDistilled: false)
    let dropout = Dropout(rate: 0.1, seed: 1)
    for step in 1...4 {
      var sums = none
      sums.add("mlm_loss", sum: 0, count: 0)  // makes it a copy of its own
      if step > 2 { ac_start() }
      gradients.view.clear()
      model.binarise(parameters.view)
      model.train(
        parameters.view, gradients: gradients.view, batch: batch, divisors: divisors, dropout: dropout,
        into: &sums)
      AdamW(step: step, learningRate: 1e-3, gradientFactor: 1).update(
        parameters.view, gradients: gradients.view, firstMoments: first.view, secondMoments: second.view,
        decay: 0.01)
      let count = ac_stop()
      precondition(sums.total.isFinite && sums.total > 0)
      precondition(step <= 2 || count == 0, "step \(step) allocated \(count) times")
    }
  }

  private static func batch(sequences: Int, length: Int) -> PretrainingBatch {
    var random = CounterRandom(seed: 1, purpose: .masking).stream(0)
    let tokens = sequences * length
    let ids = (0..<tokens).map { _ in Int32(random.next(below: 300)) }
    return PretrainingBatch(
      sequences: sequences, length: length, inputIDs: ids,
      tokenTypeIDs: (0..<tokens).map { $0 % length < length / 2 ? 0 : 1 },
      lengths: Array(repeating: Int32(length), count: sequences),
      labels: ids.enumerated().map { $0.offset % 5 == 0 ? $0.element : PretrainingLabels.ignored },
      nextSentenceLabels: (0..<sequences).map { Int32($0 % 2) },
      sampleIDs: (0..<sequences).map { UInt64($0) }, epoch: 0)
  }
}
