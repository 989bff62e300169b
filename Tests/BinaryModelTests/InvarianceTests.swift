import BinaryModel
import Kernels
import LeastSquares
import Testing

/// What results must not depend on.
@Suite(.serialized) struct InvarianceTests {
  /// Several panels of rows and columns, tails in every packed word.
  private static func wide(
    _ precision: ModelPrecision = .binary, bits: Int = 1, _ activation: FeedForwardActivation = .gelu
  ) -> TinyModel {
    let configuration = ModelConfiguration(
      vocabularySize: 300, hiddenSize: 72, layers: 2, heads: 3, intermediateSize: 150, maximumLength: 40,
      estimatorRank: precision == .full ? 0 : 2, dropout: 0, precision: precision, activationBits: bits,
      feedForwardActivation: activation)
    return TinyModel(configuration, sequences: 5, length: 33, seed: 11)
  }

  /// In a process of its own: threads can only be raised.
  @Test func sameBitsWithAnyNumberOfThreads() async {
    await #expect(processExitsWith: .success) {
      useSingleThreadedBLAS()
      let tiny = InvarianceTests.wide()
      let dropout = Dropout(rate: 0.1, seed: 2)
      let first = BackwardPrecision.allCases.map {
        tiny.train(dropout: dropout, isDistilled: true, precision: $0)
      }
      let lessBinary = [ModelPrecision.halfBinary, .full].map { InvarianceTests.wide($0) }
      let firstOfThem = lessBinary.map { $0.train(dropout: dropout, isDistilled: true) }
      for threads in 2...3 {
        #expect(startThreads(threads) == threads)
        for (precision, first) in zip(BackwardPrecision.allCases, first) {
          let found = tiny.train(dropout: dropout, isDistilled: true, precision: precision)
          #expect(found.bits == first.bits && found.sums == first.sums, "\(threads) threads, \(precision)")
        }
        for (tiny, first) in zip(lessBinary, firstOfThem) {
          let found = tiny.train(dropout: dropout, isDistilled: true)
          #expect(found.bits == first.bits && found.sums == first.sums, "\(threads) threads")
        }
      }
    }
  }

  /// Activations of more bits than one, and unsigned ones behind a ReLU.
  private static let ofLevels: [(bits: Int, activation: FeedForwardActivation)] = [
    (1, .relu), (2, .relu), (4, .gelu), (8, .relu), (8, .gelu),
  ]

  @Test func levelsHaveTheSameBitsWithAnyNumberOfThreads() async {
    await #expect(processExitsWith: .success) {
      useSingleThreadedBLAS()
      let dropout = Dropout(rate: 0.1, seed: 2)
      let models = InvarianceTests.ofLevels.map { InvarianceTests.wide(bits: $0.bits, $0.activation) }
      func train() -> [TinyModel.Trained] {
        models.flatMap { tiny in
          BackwardPrecision.allCases.map { tiny.train(dropout: dropout, isDistilled: true, precision: $0) }
        }
      }
      let first = train()
      for threads in 2...3 {
        #expect(startThreads(threads) == threads)
        for (index, (found, expected)) in zip(train(), first).enumerated() {
          #expect(
            found.bits == expected.bits && found.sums == expected.sums, "\(threads) threads, case \(index)")
        }
      }
    }
  }

  @Test(
    .enabled("SKIPPED: this processor has the kernels of one instruction set alone") {
      InstructionSet.available.count > 1
    })
  func levelsHaveTheSameBitsWithEveryInstructionSet() async {
    await #expect(processExitsWith: .success) {
      useSingleThreadedBLAS()
      let dropout = Dropout(rate: 0.1, seed: 2)
      for (bits, activation) in InvarianceTests.ofLevels {
        let tiny = InvarianceTests.wide(bits: bits, activation)
        for precision in BackwardPrecision.allCases {
          var first: TinyModel.Trained?
          for set in InstructionSet.available {
            try InstructionSet.select(set)
            let found = tiny.train(dropout: dropout, isDistilled: true, precision: precision)
            let expected = first ?? found
            first = expected
            #expect(
              found.bits == expected.bits && found.sums == expected.sums,
              "\(set), \(precision), \(bits) bits, \(activation)")
          }
        }
      }
    }
  }

  /// In a process of its own: other tests may choose kernels too.
  @Test(
    .enabled("SKIPPED: this processor has the kernels of one instruction set alone") {
      InstructionSet.available.count > 1
    })
  func sameBitsWithEveryInstructionSet() async {
    await #expect(processExitsWith: .success) {
      useSingleThreadedBLAS()
      let tiny = InvarianceTests.wide()
      let dropout = Dropout(rate: 0.1, seed: 2)
      for precision in BackwardPrecision.allCases {
        var first: TinyModel.Trained?
        for set in InstructionSet.available {
          try InstructionSet.select(set)
          let found = tiny.train(dropout: dropout, isDistilled: true, precision: precision)
          if let first {
            #expect(found.bits == first.bits && found.sums == first.sums, "\(set), \(precision)")
          } else {
            first = found
          }
        }
      }
    }
  }

  /// What `complete` says of the gradient holds at that moment, and the moments come in order.
  @Test func whatIsToldToBeCompleteIsComplete() {
    let tiny = Self.wide()
    let (batch, layout) = (tiny.batch, tiny.layout)
    var model = PretrainingModel(tiny.model, sequences: batch.sequences, length: batch.length)
    let parameters = FloatBuffer(count: layout.elementCount)
    parameters.view.copy(tiny.values)
    model.binarise(parameters.view)
    let gradients = FloatBuffer(count: layout.elementCount)
    var tails: [(first: Int, values: [Float])] = []
    var moments: [String] = []
    tiny.withTeacher(true) { teacher in
      var losses = model.layout.objective.noLosses(isDistilled: true)
      model.train(
        parameters.view, gradients: gradients.view, batch: batch, divisors: model.divisors(of: [batch]),
        dropout: Dropout(rate: 0.1, seed: 2), teacher: teacher, into: &losses
      ) { moment in
        switch moment {
        case .forward: moments.append("forward")
        case .backward: moments.append("backward")
        case .complete(let first):
          moments.append("complete")
          tails.append((first, gradients.view[first..<layout.elementCount].array))
        }
      }
    }
    #expect(moments == ["forward", "backward"] + Array(repeating: "complete", count: 4))
    let all = gradients.view.array
    for (first, values) in tails {
      #expect(values.map(\.bitPattern) == all[first...].map(\.bitPattern), "from \(first) on")
    }
    #expect(
      tails.map(\.first) == [
        layout["bert.pooler.dense.weight"].offset,
        layout["bert.encoder.layer.1.attention.self.q_m.weight"].offset,
        layout["bert.encoder.layer.0.attention.self.q_m.weight"].offset, 0,
      ])
  }

  /// The same model object keeps nothing from one batch to the next, and gradients are added to.
  @Test func sameBitsTwice() {
    let tiny = Self.wide()
    let dropout = Dropout(rate: 0.1, seed: 2)
    let (batch, layout) = (tiny.batch, tiny.layout)
    var model = PretrainingModel(tiny.model, sequences: batch.sequences, length: batch.length)
    let parameters = FloatBuffer(count: layout.elementCount)
    parameters.view.copy(tiny.values)
    let gradients = FloatBuffer(count: layout.elementCount)
    model.binarise(parameters.view)
    var results: [[Float]] = []
    var sums: [LossTerms] = []
    func train(_ teacher: TeacherOutput?) -> LossTerms {
      var losses = model.layout.objective.noLosses(isDistilled: true)
      model.train(
        parameters.view, gradients: gradients.view, batch: batch, divisors: model.divisors(of: [batch]),
        dropout: dropout, teacher: teacher, into: &losses)
      return losses
    }
    tiny.withTeacher(true) { teacher in
      for _ in 0..<2 {
        gradients.view.fill(0)
        sums.append(train(teacher))
        results.append(gradients.view.array)
        // Something else in between.
        var other = batch
        other.tokens.inputIDs.reverse()
        _ = model.evaluate(parameters.view, batch: other)
        _ = model.wordLogits(parameters.view, model.encode(parameters.view, other.tokens), token: 3)
      }
      #expect(results[0] == results[1] && sums[0] == sums[1])
      _ = train(teacher)
    }
    #expect(parameters.view.array == tiny.values, "training changes no parameter")
    let fresh = tiny.train(dropout: dropout, isDistilled: true)
    #expect(fresh.gradients == results[0] && fresh.sums == sums[0])
    for parameter in layout.parameters {
      let doubled = fresh.gradients[parameter.range].map { 2 * $0 }
      #expect(
        distance(gradients.view[parameter.range].array, doubled) <= 1e-5 * norm(doubled) + 1e-9,
        "\(parameter.name) is added to")
    }
  }

  /// Losses and gradients but for the order of sums.
  @Test func orderOfSequences() {
    let tiny = Self.wide()
    let order = [3, 0, 4, 2, 1]
    let dropout = Dropout(rate: 0.1, seed: 2)
    let first = tiny.train(dropout: dropout)
    let second = tiny.train(batch: tiny.batch.taking(order), dropout: dropout)
    #expect(abs(first.sums.total - second.sums.total) < 1e-6)
    #expect(abs(first.sums["mlm_loss"] - second.sums["mlm_loss"]) < 1e-6)
    #expect(abs(first.sums["nsp_loss"] - second.sums["nsp_loss"]) < 1e-6)
    #expect(first.sums.term("mlm_accuracy") == second.sums.term("mlm_accuracy"))
    for parameter in tiny.layout.parameters {
      let (a, b) = (first.gradients[parameter.range], second.gradients[parameter.range])
      #expect(distance(Array(a), Array(b)) <= 1e-5 * norm(Array(a)) + 1e-7, "\(parameter.name)")
    }
  }

  /// Padding is not looked at: other ids there change nothing but the step sizes' sums over all elements.
  @Test func paddingDoesNotReachRealTokens() {
    let tiny = Self.wide()
    var other = tiny.batch
    for b in 0..<other.sequences {
      for t in Int(other.tokens.lengths[b])..<other.length {
        other.tokens.inputIDs[b * other.length + t] = 7
        other.tokens.tokenTypeIDs[b * other.length + t] = 1
      }
    }
    #expect(other != tiny.batch)
    let (first, second) = (tiny.train(), tiny.train(batch: other))
    #expect(first.sums == second.sums)
  }

  @Test func evaluationIsTrainingWithoutDropout() {
    let tiny = Self.wide()
    var model = PretrainingModel(tiny.model, sequences: tiny.batch.sequences, length: tiny.batch.length)
    let parameters = FloatBuffer(count: tiny.layout.elementCount)
    parameters.view.copy(tiny.values)
    model.binarise(parameters.view)
    let evaluated = model.evaluate(parameters.view, batch: tiny.batch).losses
    // The same but for the order in which float32 products add up (`SumOrder`).
    for (term, trained) in zip(evaluated.terms, tiny.train().sums.terms) {
      #expect(term.key == trained.key && term.count == trained.count)
      #expect(abs(term.sum - trained.sum) < 1e-6 * (1 + trained.sum), "\(term), \(trained) in training")
    }
    #expect(evaluated.term("mlm_loss").count == tiny.batch.labels.maskedTokens)
    #expect(evaluated.term("nsp_loss").count == 5)
    #expect(evaluated.total == evaluated["mlm_loss"] + evaluated["nsp_loss"])
    #expect(evaluated != tiny.train(dropout: Dropout(rate: 0.1, seed: 2)).sums)
    // No token to predict: only the sequences count.
    var unmasked = tiny.batch
    unmasked.labels.masked = unmasked.labels.masked.map { _ in -100 }
    let rest = model.evaluate(parameters.view, batch: unmasked).losses
    let none = rest.term("mlm_loss")
    #expect(none.sum == 0 && none.count == 0 && none.mean == 0)
    #expect(rest.term("nsp_loss") == evaluated.term("nsp_loss"))
  }

  /// A divisor four times larger gives a quarter of every gradient, bit for bit, and the same sums.
  @Test func divisorsScaleExactly() {
    let tiny = Self.wide()
    let dropout = Dropout(rate: 0.1, seed: 2)
    let whole = tiny.train(dropout: dropout, isDistilled: true)
    let quarter = tiny.train(
      divisors: LossDivisors(
        sequences: 4 * tiny.batch.sequences,
        counts: [4 * tiny.batch.labels.maskedTokens, 4 * tiny.batch.sequences]),
      dropout: dropout, isDistilled: true)
    #expect(quarter.sums == whole.sums)
    #expect(quarter.gradients.map { 4 * $0 } == whole.gradients)
  }

  /// Lanes add up to the batch that holds them all; a step size's gradient is divided by √numel of a micro-batch.
  @Test func lanesAddUp() {
    let tiny = TinyModel(TinyModel.configuration(rank: 1), sequences: 4, length: 9, seed: 21)
    checkLanes([[0, 1], [2, 3]], of: tiny, tiny.batch)
    // More tokens to predict than the head holds logits of at once.
    let wide = Self.wide()
    var batch = wide.batch.taking([0, 1, 2, 3, 4, 0, 1])
    batch.labels.masked = batch.tokens.inputIDs
    #expect(batch.labels.maskedTokens > 192)
    checkLanes((0..<7).map { [$0] }, of: wide, batch)
  }

  /// A micro-batch computed in slices has the losses and gradients of the whole, those of step sizes too.
  @Test(arguments: [2, 4]) func slicesAddUp(slices: Int) {
    let tiny = TinyModel(TinyModel.configuration(rank: 1), sequences: 4, length: 9, seed: 22)
    let dropout = Dropout(rate: 0.1, seed: 2)
    let whole = tiny.train(dropout: dropout)
    let sliced = tiny.train(dropout: dropout, slices: slices)
    #expect(abs(sliced.sums.total - whole.sums.total) < 1e-6)
    for parameter in tiny.layout.parameters {
      let expected = Array(whole.gradients[parameter.range])
      #expect(
        distance(Array(sliced.gradients[parameter.range]), expected) <= 1e-5 * norm(expected) + 1e-7,
        "\(parameter.name)")
    }
  }

  @Test func sizesOfSlices() {
    #expect(TokenBatch.sliceSequences(of: 64, length: 128) == 8)
    #expect(TokenBatch.sliceSequences(of: 4, length: 64) == 4)
    #expect(TokenBatch.sliceSequences(of: 12, length: 128) == 6)
    #expect(TokenBatch.sliceSequences(of: 7, length: 512) == 1)
    #expect(TokenBatch.sliceSequences(of: 3, length: 2048) == 1)
  }

  private func checkLanes(_ lanes: [[Int]], of model: TinyModel, _ batch: PretrainingBatch) {
    let divisors = Pretraining().divisors(of: [batch])
    let dropout = Dropout(rate: 0.1, seed: 2)
    let whole = model.train(batch: batch, dropout: dropout)
    var sums = whole.sums.zero
    var gradients = [Float](repeating: 0, count: whole.gradients.count)
    for lane in lanes {
      let own = model.train(batch: batch.taking(lane), divisors: divisors, dropout: dropout)
      sums += own.sums
      for i in gradients.indices { gradients[i] += own.gradients[i] }
    }
    #expect(
      abs(sums.total - whole.sums.total) < 1e-6
        && sums.term("mlm_accuracy") == whole.sums.term("mlm_accuracy"))
    #expect(sums.term("mlm_loss").count == batch.labels.maskedTokens)
    for parameter in model.layout.parameters {
      let factor = parameter.kind == .stepSize ? 1 / Float(lanes.count).squareRoot() : 1
      let added = gradients[parameter.range].map { factor * $0 }
      let expected = Array(whole.gradients[parameter.range])
      #expect(distance(added, expected) <= 1e-5 * norm(expected) + 1e-7, "\(parameter.name)")
    }
  }

  private func norm(_ x: [Float]) -> Float { x.reduce(0) { $0 + $1 * $1 }.squareRoot() }
  private func distance(_ a: [Float], _ b: [Float]) -> Float { norm(zip(a, b).map { $0 - $1 }) }
}

extension Batch where Labels == PretrainingLabels {
  /// The sequences `order` of this batch.
  func taking(_ order: [Int]) -> PretrainingBatch {
    func tokens(_ all: [Int32]) -> [Int32] {
      order.flatMap { all[$0 * length..<($0 + 1) * length] }
    }
    return PretrainingBatch(
      sequences: order.count, length: length, inputIDs: tokens(self.tokens.inputIDs),
      tokenTypeIDs: tokens(self.tokens.tokenTypeIDs), lengths: order.map { self.tokens.lengths[$0] },
      labels: tokens(labels.masked), nextSentenceLabels: order.map { labels.nextSentence[$0] },
      sampleIDs: order.map { self.tokens.sampleIDs[$0] }, epoch: self.tokens.epoch)
  }
}
