import Foundation
import Testing

/// A run goes on from a checkpoint of a release that added gradients up in floating point.
@Suite struct EarlierReleaseTests {
  /// As the checkpoint's run had them.
  private static let settings = [
    "model.hidden_size=8", "model.heads=2", "model.layers=1", "model.intermediate_size=12",
    "training.steps=16",
  ].flatMap { ["--set", $0] }

  @Test func goesOnWithAnyNumberOfRanks() throws {
    let tiny = try TinyRun()
    let source = Program.package.path + "/Tests/SystemTests/Resources/checkpoint-of-float-sums"
    var metrics: [[String]] = []
    for ranks in [1, 2, 3] {
      let run = "run-\(ranks)"
      let folder = tiny.scratch.path(run + "/checkpoints")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: source, toPath: folder + "/step-00000008")
      let outcome = try Program.pretrain(
        tiny.arguments(run, Self.settings + ["--resume", folder + "/step-00000008"]), ranks: ranks)
      #expect(outcome.code == 0, "\(outcome.errors)")
      let told = outcome.errors.split(separator: "\n").filter {
        $0.contains("added gradients up in floating point")
      }
      #expect(told.count == 1, "\(outcome.errors)")
      // Nothing is known of its powers, so the lanes of the first step are done twice.
      #expect(try tiny.measured(run, "repeated_sums").first == 1)
      #expect(try tiny.weights(run, step: 16) == tiny.weights("run-1", step: 16))
      metrics.append(try tiny.metrics(run))
    }
    #expect(metrics[0].contains { $0.contains("\"step\": 9") })
    #expect(metrics[0] == metrics[1] && metrics[0] == metrics[2])
  }
}
