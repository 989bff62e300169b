import BinaryModel
import Collectives
import Kernels
import SumAccuracy
import Testing

/// The gradients of the golden models, a sequence a lane, added up as integers.
@Suite struct GradientSumTests {
  @Test(arguments: GoldenFile.all) func theSumIsClose(golden: GoldenFile) throws {
    let layout = golden.model.parameters
    let parameters = FloatBuffer(count: layout.elementCount)
    let gradients = FloatBuffer(count: layout.elementCount)
    try golden.load("param/", into: parameters.view, layout: layout)
    let batch = try golden.batch()
    var model = PretrainingModel(
      golden.model, sequences: 1, length: batch.length, slices: batch.sequences)
    model.binarise(parameters.view)
    PretrainingModel.fit(parameters.view, layout: golden.model, batch: batch.tokens, rule: .published)
    let divisors = model.divisors(of: [batch])
    for (format, limit) in [(GradientFormat.int32, 1e-13), (.int16, 1e-6)] {
      let sum = SumAccuracy(layout, format: format)
      for _ in 0..<2 {
        for lane in batch.slices(of: 1) {
          gradients.view.fill(0)
          var losses = model.layout.objective.noLosses(isDistilled: false)
          model.train(
            parameters.view, gradients: gradients.view, batch: lane, divisors: divisors, dropout: nil,
            into: &losses)
          sum.add(lane: gradients.view)
        }
        sum.endStep()
      }
      print("\(golden.name), \(format): 1 - cosine \(sum.distances), made \(sum.rounds) times")
      #expect(sum.distances.allSatisfy { $0 <= limit }, "\(format): \(sum.distances)")
      #expect(sum.rounds == [2, 1])
    }
  }
}
