import BinaryModel
import Foundation
import Kernels
import Parameters
import TensorFiles
import Testing

@Suite struct InitialisationTests {
  private static let configuration = ModelConfiguration(
    vocabularySize: 500, hiddenSize: 64, layers: 2, heads: 2, intermediateSize: 128, maximumLength: 32,
    estimatorRank: 2, dropout: 0)
  private static let layout = ModelLayout(configuration, Pretraining()).parameters

  private func filled(seed: UInt64, _ layout: ParameterLayout = layout) -> [Float] {
    let buffer = FloatBuffer(count: layout.elementCount)
    Initialisation.fill(buffer.view, layout: layout, seed: seed)
    return buffer.view.array
  }

  @Test func defaults() {
    let values = filled(seed: 1)
    var isGap = [Bool](repeating: true, count: values.count)
    for parameter in Self.layout.parameters {
      let own = values[parameter.range]
      for i in parameter.range { isGap[i] = false }
      if parameter.kind == .stepSize || parameter.name.hasSuffix("LayerNorm.weight") {
        #expect(own.allSatisfy { $0 == 1 }, "\(parameter.name)")
      } else if parameter.name.hasSuffix("bias") {
        #expect(own.allSatisfy { $0 == 0 }, "\(parameter.name)")
      } else {
        // Mean and deviation within five of their own standard deviations.
        let n = Double(own.count)
        let mean = own.reduce(0) { $0 + Double($1) } / n
        let deviation = (own.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / n).squareRoot()
        #expect(abs(mean) < 5 * 0.02 / n.squareRoot(), "\(parameter.name): mean \(mean)")
        #expect(abs(deviation - 0.02) < 5 * 0.02 / (2 * n).squareRoot(), "\(parameter.name): \(deviation)")
        #expect(own.allSatisfy { abs($0) < 0.02 * 4.9 })
      }
    }
    #expect(isGap.contains(true))
    for i in values.indices where isGap[i] { #expect(values[i] == 0) }
  }

  /// The shape of the distribution: a normal one has 68.3 % within one deviation, 95.4 % within two.
  @Test func isNearlyNormal() {
    let values = filled(seed: 3)[Self.layout["bert.embeddings.word_embeddings.weight"].range]
    let n = Double(values.count)
    #expect(abs(Double(values.count { abs($0) < 0.02 }) / n - 0.683) < 0.02)
    #expect(abs(Double(values.count { abs($0) < 0.04 }) / n - 0.954) < 0.01)
    #expect(abs(Double(values.count { $0 < 0 }) / n - 0.5) < 0.02)
  }

  @Test func isAFunctionOfSeedAndPlace() {
    #expect(filled(seed: 1) == filled(seed: 1))
    #expect(filled(seed: 1) != filled(seed: 2))
    // Elements at the same place of the flat buffer agree, whatever comes after them.
    var longer = Self.configuration
    longer.layers = 3
    let other = filled(seed: 1, ModelLayout(longer, Pretraining()).parameters)
    let words = Self.layout["bert.encoder.layer.1.output.dense.weight"].range
    #expect(Array(other[words]) == Array(filled(seed: 1)[words]))
  }

  /// A release that changes these starts other runs than before.
  @Test func goldenValues() {
    let values = filled(seed: 42)
    let places = [
      ("bert.embeddings.word_embeddings.weight", 0), ("bert.embeddings.word_embeddings.weight", 12_345),
      ("bert.encoder.layer.1.attention.self.query.weight", 7), ("cls.seq_relationship.weight", 127),
    ]
    let found = places.map { values[Self.layout[$0.0].offset + $0.1].bitPattern }
    #expect(found == [0xBC29_3AA7, 0x3C0A_9796, 0x3995_8450, 0x3CAA_9777])
  }
}
