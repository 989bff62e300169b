import BinaryModel
import Foundation
import Kernels
import Parameters
import TensorFiles
import Testing

/// Against the PyTorch reference, within the bounds of Golden/README.md.
@Suite struct GoldenTests {
  @Test(arguments: GoldenFile.all) func forwardBackwardAndUpdate(golden: GoldenFile) throws {
    let layout = golden.model.parameters
    let parameters = FloatBuffer(count: layout.elementCount)
    let gradients = FloatBuffer(count: layout.elementCount)
    try golden.load("param/", into: parameters.view, layout: layout)
    let batch = try golden.batch()
    var model = PretrainingModel(golden.model, sequences: batch.sequences, length: batch.length)
    model.binarise(parameters.view)

    PretrainingModel.fit(
      parameters.view, layout: golden.model, batch: batch.tokens, rule: .published)
    for step in layout.parameters where step.kind == .stepSize {
      let expected = try golden.tensors.floats("fitted/" + step.name)[0]
      let found = parameters.view[step.offset]
      #expect(abs(found - expected) <= 1e-5 * abs(expected), "\(step.name): \(found), expected \(expected)")
    }

    var boxes: [FloatBufferBox] = []
    let teacher = try golden.teacherOutput(&boxes)
    var sums = model.layout.objective.noLosses(isDistilled: teacher != nil)
    withExtendedLifetime(boxes) {
      model.train(
        parameters.view, gradients: gradients.view, batch: batch, divisors: model.divisors(of: [batch]),
        dropout: nil, teacher: teacher, into: &sums)
    }
    let found = [
      "mlm": sums["mlm_loss"], "nsp": sums["nsp_loss"], "total": sums.total, "hidden": sums["hidden_loss"],
      "nsp_distill": sums["nsp_distillation_loss"],
    ]
    for (name, expected) in golden.settings.losses.sorted(by: { $0.key < $1.key }) {
      let value = try #require(found[name])
      #expect(abs(value - expected) < 1e-5, "loss \(name): \(value), expected \(expected)")
    }
    try checkHidden(golden, model, batch: batch, parameters: parameters.view)
    try checkGradients(golden, gradients.view, layout: layout)
    try checkUpdate(golden, parameters.view, gradients.view, layout: layout)
  }

  private func checkHidden(
    _ golden: GoldenFile, _ model: borrowing PretrainingModel, batch: PretrainingBatch, parameters: FloatView
  ) throws {
    let output = model.encode(parameters, batch.tokens)
    for index in 0...golden.settings.config.numHiddenLayers {
      let expected = try golden.tensors.floats("hidden/\(index)")
      let found = output.hidden[index].array
      let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
      #expect(found.count == expected.count && worst < 1e-4, "hidden state \(index): off by \(worst)")
    }
    let nsp = try golden.tensors.floats("nsp_logits")
    let logitsOfSentences = model.nextSentenceLogits(parameters, output)
    #expect(
      zip(logitsOfSentences, nsp).allSatisfy { abs($0 - $1) < 1e-4 },
      "NSP logits \(logitsOfSentences), \(nsp)")
    let logits = try golden.tensors.floats("logits")
    let vocabulary = golden.settings.config.vocabSize
    for token in 0..<batch.sequences * batch.length {
      let found = model.wordLogits(parameters, output, token: token)
      let worst = (0..<vocabulary).map { abs(found[$0] - logits[token * vocabulary + $0]) }.max() ?? 0
      #expect(worst < 1e-4, "logits of token \(token): off by \(worst)")
    }
  }

  private func checkGradients(_ golden: GoldenFile, _ gradients: FloatView, layout: ParameterLayout) throws {
    var compared = 0
    for parameter in layout.parameters {
      let expected = try golden.tensors.floats("grad/" + parameter.name).map(Double.init)
      let found = gradients[parameter.range].array.map(Double.init)
      let norm = expected.reduce(0) { $0 + $1 * $1 }.squareRoot()
      let difference = zip(found, expected).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
      if norm > 1e-6 {
        #expect(
          difference < 1e-3 * norm, "gradient of \(parameter.name): relative error \(difference / norm)")
        compared += 1
      } else {
        #expect(difference < 2e-6, "gradient of \(parameter.name): norm \(norm), error \(difference)")
      }
    }
    #expect(compared > layout.parameters.count / 2)
    let norm = gradients.sumOfSquares().squareRoot()
    #expect(abs(norm - golden.settings.gradientNorm) < 1e-4 * norm)
  }

  private func checkUpdate(
    _ golden: GoldenFile, _ parameters: FloatView, _ gradients: FloatView, layout: ParameterLayout
  ) throws {
    let first = FloatBuffer(count: layout.elementCount)
    let second = FloatBuffer(count: layout.elementCount)
    let step = AdamW(step: 1, learningRate: golden.settings.adamw.lr, gradientFactor: 1)
    for parameter in layout.parameters {
      let range = parameter.range
      step.update(
        parameters[range], gradients: gradients[range], firstMoments: first.view[range],
        secondMoments: second.view[range],
        decay: golden.settings.adamw.decays(parameter.name) ? golden.settings.adamw.weightDecay : 0)
      let expected = try golden.tensors.floats("adamw/" + parameter.name)
      let gradient = try golden.tensors.floats("grad/" + parameter.name)
      for (i, value) in expected.enumerated() where abs(gradient[i]) > 1e-5 {
        let found = parameters[range.lowerBound + i]
        if abs(found - value) >= 2e-5 {
          Issue.record("\(parameter.name)[\(i)] after AdamW: \(found), expected \(value)")
          break
        }
      }
    }
  }

  /// The encoder at full precision is BERT, pooler included: it gives the hidden states and logits of PyTorch's.
  @Test(arguments: GoldenFile.all.filter { $0.tensors.find("teacher_nsp_logits") != nil })
  func fullPrecision(golden: GoldenFile) throws {
    var configuration = golden.model.configuration
    (configuration.precision, configuration.estimatorRank) = (.full, 0)
    let model = ModelLayout(configuration, Pretraining())
    let parameters = FloatBuffer(count: model.parameters.elementCount)
    for parameter in model.parameters.parameters where !parameter.name.hasPrefix("cls.predictions.") {
      let values = try golden.tensors.floats("teacher_param/" + parameter.name)
      try #require(values.count == parameter.count, "\(parameter.name)")
      for (i, value) in values.enumerated() { parameters.view[parameter.offset + i] = value }
    }
    let batch = try golden.batch()
    var network = PretrainingModel(model, sequences: batch.sequences, length: batch.length)
    network.binarise(parameters.view)
    let output = network.encode(parameters.view, batch.tokens)
    for index in output.hidden.indices {
      let expected = try golden.tensors.floats("teacher_hidden/\(index)")
      let found = output.hidden[index].array
      let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
      #expect(found.count == expected.count && worst < 1e-4, "hidden state \(index): off by \(worst)")
    }
    let logits = network.nextSentenceLogits(parameters.view, output)
    let expected = try golden.tensors.floats("teacher_nsp_logits")
    #expect(zip(logits, expected).allSatisfy { abs($0 - $1) < 1e-4 }, "\(logits), expected \(expected)")
  }

  @Test(arguments: GoldenFile.all.filter { $0.tensors.find("teacher_nsp_logits") != nil })
  func teacher(golden: GoldenFile) throws {
    let batch = try golden.batch()
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "bipft-golden-\(getpid())-\(golden.name)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    // The teacher's tensors as a file of their own, under Hugging Face names without the prefix.
    let prefix = "teacher_param/"
    let entries = golden.tensors.entries.filter { $0.name.hasPrefix(prefix) }
    let path = folder.appending(path: "teacher.safetensors").path
    try writeSafetensors(
      path: path,
      tensors: entries.map { entry in
        Tensor(
          name: String(entry.name.dropFirst(prefix.count + (entry.name.hasPrefix(prefix + "bert.") ? 5 : 0))),
          type: entry.type, shape: entry.shape, bytes: golden.tensors.withBytes(of: entry) { Array($0) })
      })
    let weights = try TeacherWeights(PretrainedWeights(path: path), student: golden.model)
    let teacher = FullPrecisionTeacher(
      weights, configuration: golden.model.configuration, sequences: batch.sequences, length: batch.length)
    let output = teacher.forward(batch.tokens)
    // Against float32: bfloat16 keeps 8 bits, so elements of unit variance are off by a few thousandths.
    for index in output.hidden.indices {
      let expected = try golden.tensors.floats("teacher_hidden/\(index)")
      let found = output.hidden[index].array
      try #require(found.count == expected.count)
      let differences = zip(found, expected).map { abs($0 - $1) }
      let worst = differences.max() ?? 0
      let meanSquare = differences.reduce(0) { $0 + $1 * $1 } / Float(differences.count)
      #expect(
        worst < 0.04 && meanSquare.squareRoot() < 0.008,
        "teacher's hidden state \(index): off by \(worst), \(meanSquare.squareRoot()) in the mean")
    }
    let nsp = try golden.tensors.floats("teacher_nsp_logits")
    let logits = try #require(output.logits).array
    #expect(zip(logits, nsp).allSatisfy { abs($0 - $1) < 0.01 }, "\(logits), expected \(nsp)")
  }
}
