import Foundation
import Mutations
import Planning
import RunSettings
import Testing

/// Damaged configurations and overrides: taken, with a plan, or refused in lines that name the file or the option; no
/// crash.
@Suite struct MutationTests {
  @Test(arguments: [false, true]) func configurations(isOverride: Bool) throws {
    let demo = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("configs/demo.yaml").path
    let base = try RunConfiguration.load(file: demo).canonicalText
    let overrides = [
      "threads=3", "model.dropout=0.30000001", "training.learning_rate=1.2345678e-5", "data.corpus='12'",
      "synchronisation=replicated", "training.backward_precision=int8",
    ]
    let good = Array((isOverride ? overrides.joined(separator: "\n") : base).utf8)
    var (taken, refused) = (0, 0)
    Mutations.of(good, count: 2_000, name: isOverride ? "--set" : "yaml") { bytes, number in
      let text = String(decoding: bytes, as: UTF8.self)
      let settings = isOverride ? text.split(separator: "\n").map(String.init) : []
      do throws(ConfigurationError) {
        let run = try RunConfiguration.parse(
          isOverride ? base : text, file: "configs/demo.yaml", overrides: settings)
        taken += 1
        let again = try RunConfiguration.parse(run.canonicalText, file: "configs/demo.yaml")
        #expect(again == run, "mutant \(number)")
        _ = try? RunPlan(run, vocabularySize: 30_522, trainingSamples: 1_000, ranks: 2)
      } catch {
        refused += 1
        for line in error.description.split(separator: "\n") {
          #expect(line.contains("configs/demo.yaml") || line.contains("--set"), "mutant \(number): \(line)")
        }
      }
    }
    #expect(taken > 0 && refused > 0)
  }
}
