import BinaryModel
import Planning
import Telemetry

extension StepRecord {
  /// The record of losses: their means, and in an evaluation the shares. Distances from a teacher are losses of an evaluation,
  /// and extras of a step.
  init(
    _ kind: Kind, step: Int, _ terms: LossTerms, learningRate: Float?, gradientNorm: Float?,
    tokensPerSecond: Double
  ) {
    func named(_ role: LossTerms.Role) -> [Named] {
      terms.terms.filter { $0.role == role }.map { Named($0.key, Float($0.mean)) }
    }
    let isEvaluation = kind == .eval
    self.init(
      kind: kind, step: step, loss: Float(terms.total),
      losses: named(.loss) + (isEvaluation ? named(.distillation) : []), learningRate: learningRate,
      gradientNorm: gradientNorm, tokensPerSecond: tokensPerSecond,
      metrics: isEvaluation ? named(.share) : [])
    if isEvaluation { return }
    extras = terms.terms.filter { $0.role == .distillation }.map { Extra($0.key, .number($0.mean)) }
  }

  /// - Parameter history: `Schedule.history` after the step.
  mutating func note(samples history: String) {
    extras.append(Extra("samples", .text(String(history.prefix(16)))))
  }

  /// The step was left out.
  mutating func note(skipped reason: String, sampleIDs: String) {
    extras.append(Extra("skipped", .text(reason)))
    extras.append(Extra("sample_ids", .text(sampleIDs)))
  }

  /// - Parameter bytesSent: of each rank, for gradients and weights.
  mutating func measure(bytesSent: [Int]) {
    measured += [
      Extra("bytes_sent", .integer(bytesSent.reduce(0, +))),
      Extra("bytes_sent_busiest_rank", .integer(bytesSent.max()!)),
    ]
  }
}

extension ContinuousClock.Instant {
  /// Seconds since this instant; for display only.
  var secondsUntilNow: Double { (self.duration(to: .now)) / .seconds(1) }
}
