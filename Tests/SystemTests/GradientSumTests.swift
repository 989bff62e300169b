import BinaryModel
import Collectives
import Foundation
import Kernels
import RunSettings
import SumAccuracy
import Testing
import Training

/// The gradients of the demo's model on its text, added up as integers.
@Suite struct DemoGradientSumTests {
  @Test func theSumIsClose() throws {
    let scratch = try Scratch()
    let demo = Program.package.path + "/configs/"
    let built = try Program.bipft([
      "corpus", "build", "--input", demo + "demo-text/books.txt", "--vocab", demo + "vocab/vocab.txt",
      "--output",
      scratch.path("corpus"), "--held-out", "0.05",
    ])
    try #require(built.code == 0, "\(built.errors)")
    let configuration = try RunConfiguration.load(
      file: demo + "demo.yaml", overrides: ["data.corpus=\(scratch.path("corpus"))"])
    let inputs = try RunInputs(onCorpusOf: configuration, Pretraining())
    let layout = inputs.layout.parameters
    let parameters = FloatBuffer(count: layout.elementCount)
    let gradients = FloatBuffer(count: layout.elementCount)
    let total = FloatBuffer(count: layout.elementCount)
    let moments = [FloatBufferBox(count: layout.elementCount), FloatBufferBox(count: layout.elementCount)]
    Initialisation.fill(parameters.view, layout: layout, seed: configuration.seed)
    Model.fit(
      parameters.view, layout: inputs.layout, batch: try inputs.batches.batch(step: 1, lane: 0).tokens,
      rule: .published)
    var model = Model(
      inputs.layout, sequences: configuration.training.microBatch, length: configuration.data.sequenceLength)
    let sums = GradientFormat.allCases.map { SumAccuracy(layout, format: $0) }
    let sink = SinkAccuracy(inputs.layout)
    var sinkDistances: [Double] = []
    for step in 1...10 {
      model.binarise(parameters.view)
      total.view.fill(0)
      let batches = try (0..<configuration.laneCount).map { try inputs.batches.batch(step: step, lane: $0) }
      for batch in batches {
        gradients.view.fill(0)
        var losses = model.layout.objective.noLosses(isDistilled: false)
        model.train(
          parameters.view, gradients: gradients.view, batch: batch, divisors: model.divisors(of: batches),
          dropout: nil, into: &losses)
        total.view.add(gradients.view)
        for sum in sums { sum.add(lane: gradients.view) }
      }
      let divisors = model.divisors(of: batches)
      let made = sink.step(lanes: batches.count, gradients: gradients.view) { lane, sinks in
        var losses = model.layout.objective.noLosses(isDistilled: false)
        model.train(
          parameters.view, gradients: gradients.view, sinks: sinks, batch: batches[lane], divisors: divisors,
          dropout: nil, into: &losses)
      }
      sinkDistances.append(sums[0].distance(of: made))
      for sum in sums { sum.endStep() }
      AdamW(step: step, learningRate: 1e-3, gradientFactor: 1).update(
        parameters.view, gradients: total.view, firstMoments: moments[0].buffer.view,
        secondMoments: moments[1].buffer.view, decay: 0)
    }
    print("demo, as a run adds: 1 - cosine \(sinkDistances)")
    #expect(sinkDistances.allSatisfy { $0 <= 1e-13 }, "\(sinkDistances)")
    for (sum, limit) in zip(sums, [1e-13, 1e-6]) {
      print("demo: 1 - cosine \(sum.distances), made \(sum.rounds) times")
      #expect(sum.distances.allSatisfy { $0 <= limit }, "\(sum.distances)")
    }
  }

  private final class FloatBufferBox {
    let buffer: FloatBuffer
    init(count: Int) { buffer = FloatBuffer(count: count) }
  }
}
