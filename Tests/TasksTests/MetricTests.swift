import Foundation
import Tasks
import Testing

/// Metrics against the values of scikit-learn and SciPy (`scripts/metrics/make_fixture.py`).
@Suite struct MetricTests {
  struct Fixture: Decodable {
    struct Case: Decodable {
      let predicted: [Double]
      let actual: [Double]
      let values: [String: Double?]
    }
    let cases: [Case]
  }

  @Test func agreesWithScikitLearnAndSciPy() throws {
    let url = try #require(Bundle.module.url(forResource: "Resources/metrics", withExtension: "json"))
    let fixture = try JSONDecoder().decode(Fixture.self, from: Data(contentsOf: url))
    var compared: [Metric: Int] = [:]
    for (index, example) in fixture.cases.enumerated() {
      for (name, expected) in example.values {
        let metric = try #require(Metric(rawValue: name))
        let found = metric.value(predicted: example.predicted, actual: example.actual)
        if let expected {
          #expect(abs(found - expected) < 1e-9, "case \(index), \(name): \(found), not \(expected)")
        } else {
          #expect(found.isNaN, "case \(index), \(name)")
        }
        compared[metric, default: 0] += 1
      }
    }
    for metric in Metric.allCases { #expect(compared[metric, default: 0] >= 8, "\(metric)") }
  }
}
