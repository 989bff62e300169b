import Collectives
import Foundation
import Kernels
import LeastSquares
import RunSettings

/// What a dry run says of the time of a step: a row for each way to synchronise.
public struct StepTimeTable {
  /// A link, and what a core does.
  public struct Estimate: Equatable, Sendable {
    /// Of each host.
    public var gigabits: Double
    public var latencyMicroseconds: Double
    /// Tokens a second of one core, forward and backward; nil measures it.
    public var coreTokensPerSecond: Double?

    public init(gigabits: Double, latencyMicroseconds: Double, coreTokensPerSecond: Double? = nil) {
      self.gigabits = gigabits
      self.latencyMicroseconds = latencyMicroseconds
      self.coreTokensPerSecond = coreTokensPerSecond
    }

    /// Headers of Ethernet, IP and TCP take a twentieth.
    var link: Link { Link(bytesPerSecond: 0.95 * gigabits * 1e9 / 8, latency: latencyMicroseconds * 1e-6) }
  }

  private struct Row {
    let name: String
    let time: StepTimeModel.Time
    let efficiency: Double
    let tokensPerSecond: Double
  }

  private let heading: String
  private let rows: [Row]

  /// Measures this core, on the calling thread alone, and carries it to the ranks on `hosts`.
  ///
  /// - Cost: seconds.
  public init(
    _ configuration: RunConfiguration, vocabularySize vocabulary: Int, hosts: HostLayout, _ estimate: Estimate
  ) {
    let threads = configuration.threads ?? 1
    useSingleThreadedBLAS()
    let measured = CoreMeasurement(
      configuration, vocabularySize: vocabulary, tokensPerSecond: estimate.coreTokensPerSecond)
    let model = StepTimeModel(
      configuration, vocabularySize: vocabulary, core: measured.speed, threads: threads)
    let ranks = hosts.size
    heading =
      "estimate of a step: \(Self.count(ranks, "rank")) of \(Self.count(threads, "thread")) on "
      + "\(Self.count(hosts.hosts.count, "host")), "
      + String(format: "%g Gbit/s and %g µs a host\n", estimate.gigabits, estimate.latencyMicroseconds)
      + "one core: \(Self.rate(measured.speed.tokens)) tokens/s forward and backward "
      + (estimate.coreTokensPerSecond == nil ? "(measured here: " : "(given); the update measured here (")
      + "\(InstructionSet.name), \(Self.seconds(measured.seconds)) s)\n"
      + Self.line(["", "compute", "exchange", "update", "step, s", "efficiency", "tokens/s"])
    let ways: [(Synchronisation, GradientFormat)] = [
      (.replicated, .int32), (.sharded, .int32), (.sharded, .int16),
    ]
    rows = ways.map { synchronisation, format in
      let time = model.time(
        hosts: hosts, link: estimate.link, synchronisation: synchronisation, format: format)
      return Row(
        name: "\(synchronisation), \(format)", time: time,
        efficiency: model.efficiency(time, ranks: ranks, format: format),
        tokensPerSecond: Double(model.tokensPerStep) / time.total)
    }
  }

  public var text: String {
    heading
      + rows.map { row in
        Self.line([
          row.name, Self.seconds(row.time.compute), Self.seconds(row.time.exchange),
          Self.seconds(row.time.update),
          Self.seconds(row.time.total), String(format: "%.1f %%", 100 * row.efficiency),
          Self.rate(row.tokensPerSecond),
        ])
      }.joined()
  }

  private static func line(_ columns: [String]) -> String {
    let name = columns[0].padding(toLength: 20, withPad: " ", startingAt: 0)
    let others = columns.dropFirst().map { String(repeating: " ", count: max(1, 12 - $0.count)) + $0 }
    return name + others.joined() + "\n"
  }

  private static func count(_ number: Int, _ noun: String) -> String {
    "\(RunPlan.grouped(number)) \(noun)\(number == 1 ? "" : "s")"
  }

  private static func rate(_ value: Double) -> String { RunPlan.grouped(Int(value.rounded())) }

  private static func seconds(_ value: Double) -> String { String(format: "%.4g", value) }
}
