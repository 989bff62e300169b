import Foundation
import Testing

/// `bipft residuals` and the fits that it measures, as a user would.
@Suite struct ResidualsTests {
  private struct Found: Decodable {
    struct Layer: Decodable {
      struct Sums: Decodable {
        let scores: Double
        let residual: Double
        let scoresExplained: Double
      }
      struct Share: Decodable {
        let rank: Int
        let shared: Double
        let perHead: Double?
      }
      let all: Sums
      let heads: [Sums]
      let commonShare: Double
      let attainable: [Share]
    }
    let step: Int
    let sequences: Int
    let layers: [Layer]
  }

  @Test func fromRunToNumbers() throws {
    let tiny = try TinyRun()
    let corpus = tiny.scratch.path("corpus")
    var explained: [Double] = []
    for (name, fit) in [("random", "gradient"), ("fitted", "closed_form")] {
      let trained = try Program.pretrain(
        tiny.arguments(name, ["--set", "training.steps=0", "--set", "estimators.fit=\(fit)"]))
      try #require(trained.code == 0, "\(trained.errors)")
      #expect(trained.errors.contains("fit of layer 1: estimators explain") == (fit == "closed_form"))
      let (json, html) = (tiny.scratch.path(name + ".json"), tiny.scratch.path(name + ".html"))
      let result = try Program.bipft([
        "residuals", tiny.scratch.path(name), corpus, "--sequences", "6", "--ranks", "1,2", "--per-head",
        "--json", json, "--html", html,
      ])
      try #require(result.code == 0, "\(result.errors)")
      #expect(result.output.contains("residual/scores") && result.output.contains("rank 2, per head: "))
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      let found = try decoder.decode(Found.self, from: Data(contentsOf: URL(fileURLWithPath: json)))
      #expect(found.step == 0 && found.sequences == 6 && found.layers.count == 2)
      #expect(found.layers[0].heads.count == 3 && found.layers[0].attainable.map(\.rank) == [1, 2])
      #expect(found.layers.allSatisfy { $0.all.residual > 0 && $0.all.scores > 0 && $0.commonShare < 1 })
      explained.append(found.layers[0].all.scoresExplained)
      let page = try String(contentsOfFile: html, encoding: .utf8)
      #expect(page.contains("<svg") && page.contains("</html>") && !page.contains("<script"))
    }
    #expect(explained[1] > explained[0])
  }

  @Test func whatCannotBe() throws {
    let tiny = try TinyRun()
    let own = try Program.pretrain(
      tiny.arguments("own", ["--set", "training.steps=2", "--set", "estimators.per_head=true"]))
    try #require(own.code == 0, "\(own.errors)")
    for format in ["packed", "huggingface"] {
      let export = try Program.bipft([
        "export", tiny.scratch.path("own"), "--format", format, "--output", tiny.scratch.path("o"),
      ])
      #expect(export.code == 78 && export.errors.contains("estimators.per_head false"), "\(export)")
    }
    let none = try Program.pretrain(
      tiny.arguments("a", ["--set", "estimators.fit=closed_form", "--set", "model.estimator_rank=0"]))
    #expect(
      none.code == 78 && none.errors.contains("model.estimator_rank is 0, so there are none"), "\(none)")
    let full = try Program.pretrain(
      tiny.arguments(
        "full",
        [
          "--set", "training.steps=0", "--set", "model.precision=full", "--set", "model.estimator_rank=0",
        ]))
    try #require(full.code == 0, "\(full.errors)")
    for (arguments, code, message) in [
      (
        [tiny.scratch.path("full"), tiny.scratch.path("corpus")], 78,
        "full precision, which throws nothing away"
      ),
      ([tiny.scratch.path("nowhere"), tiny.scratch.path("corpus")], 78, "nowhere"),
      (
        [tiny.scratch.path("full"), tiny.scratch.path("corpus"), "--ranks", "1,x"], 64,
        "use whole numbers from 1 to 1024"
      ),
      (
        [tiny.scratch.path("full"), tiny.scratch.path("corpus"), "--per-head"], 64,
        "--per-head is for --ranks"
      ),
      (
        [tiny.scratch.path("full"), tiny.scratch.path("corpus"), "--ranks", "1", "--sequences", "1"], 64,
        "use 2 or more"
      ),
    ] {
      let result = try Program.bipft(["residuals"] + arguments)
      #expect(result.code == code && result.errors.contains(message), "\(arguments): \(result)")
      #expect(result.output.isEmpty)
    }
  }
}
