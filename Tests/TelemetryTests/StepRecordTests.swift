import Telemetry
import Testing

/// A fixed sequence of random bits (xorshift64*), the same on each run of the tests.
struct RandomBits: RandomNumberGenerator {
  private var state: UInt64 = 0x1234_5678_9ABC_DEF1

  mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_F491_4F6C_DD1D
  }
}

func trainRecord(_ step: Int, loss: Float = 9.5, extras: [StepRecord.Extra] = []) -> StepRecord {
  StepRecord(
    kind: .train, step: step, loss: loss, losses: [.init("mlm_loss", 8.8), .init("nsp_loss", 0.7)],
    learningRate: 1e-4, gradientNorm: 2.5, tokensPerSecond: 1234.5, extras: extras)
}

func evaluationRecord(_ step: Int) -> StepRecord {
  StepRecord(
    kind: .eval, step: step, loss: 7.25, losses: [.init("mlm_loss", 6.5), .init("nsp_loss", 0.75)],
    learningRate: nil, gradientNorm: nil, tokensPerSecond: 2000,
    metrics: [.init("mlm_accuracy", 0.125), .init("nsp_accuracy", 0.5)])
}

@Suite struct StepRecordTests {
  @Test func trainLine() {
    let extras = [
      StepRecord.Extra("ranks", .integer(8)), .init("host", .text("a\"b\\\n")), .init("x", .number(0.1)),
    ]
    #expect(
      trainRecord(3, extras: extras).json
        == #"{"kind": "train", "step": 3, "loss": 9.5, "mlm_loss": 8.8, "nsp_loss": 0.7, "learning_rate": 0.0001, "#
        + #""gradient_norm": 2.5, "tokens_per_second": 1234.5, "ranks": 8, "host": "a\"b\\\n", "x": 0.1}"#)
  }

  @Test func evaluationLine() {
    #expect(
      evaluationRecord(0).json
        == #"{"kind": "eval", "step": 0, "loss": 7.25, "mlm_loss": 6.5, "nsp_loss": 0.75, "learning_rate": null, "#
        + #""gradient_norm": null, "tokens_per_second": 2000.0, "mlm_accuracy": 0.125, "nsp_accuracy": 0.5}"#)
  }
}
