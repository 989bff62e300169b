import BinaryModel
import Kernels
import Testing

/// Batches that a corpus can bring although nobody wishes for them.
@Suite struct UnusualBatchTests {
  /// Text that the vocabulary does not know has no token to predict: the loss over tokens is 0, and the step trains on the
  /// rest of the objective.
  @Test(arguments: BackwardPrecision.allCases) func nothingToPredict(precision: BackwardPrecision) {
    let tiny = TinyModel(TinyModel.configuration(rank: 1), sequences: 4, length: 9, seed: 1)
    var batch = tiny.batch
    for token in batch.labels.masked.indices { batch.labels.masked[token] = PretrainingLabels.ignored }
    let divisors = LossDivisors(sequences: 4, counts: [0, 4])
    let found = tiny.train(batch: batch, divisors: divisors, isDistilled: true, precision: precision)
    let none = found.sums.term("mlm_loss")
    #expect(none.count == 0 && none.sum == 0 && none.mean == 0)
    #expect(found.sums["nsp_loss"] > 0 && found.sums["hidden_loss"] > 0 && found.sums.total.isFinite)
    #expect(found.gradients.allSatisfy { $0.isFinite })
    for parameter in tiny.layout.parameters {
      let isZero = found.gradients[parameter.range].allSatisfy { $0 == 0 }
      #expect(isZero || !parameter.name.hasPrefix("cls.predictions."), "\(parameter.name)")
    }
    #expect(!found.gradients[tiny.layout["bert.pooler.dense.weight"].range].allSatisfy { $0 == 0 })
  }

  /// A small corpus comes to epoch 65,536 and beyond: other draws, as in any two epochs.
  @Test(arguments: BackwardPrecision.allCases) func lateEpochs(precision: BackwardPrecision) {
    let tiny = TinyModel(TinyModel.configuration(rank: 1), sequences: 4, length: 9, seed: 1)
    var seen: Set<[UInt32]> = []
    for epoch in [UInt32(0), 65_535, 65_536, 131_072, .max] {
      var batch = tiny.batch
      batch.tokens.epoch = epoch
      let found = tiny.train(batch: batch, dropout: Dropout(rate: 0.1, seed: 2), precision: precision)
      #expect(found.gradients.allSatisfy { $0.isFinite })
      seen.insert(found.bits)
    }
    #expect(seen.count == 5)
  }
}
