import Foundation

extension RunPlan {
  /// The plan as a table for people.
  public var text: String {
    let perRank =
      lanesPerRank.lowerBound == lanesPerRank.upperBound
      ? "\(lanesPerRank.lowerBound)" : "\(lanesPerRank.lowerBound) to \(lanesPerRank.upperBound)"
    var rows: [(String, String, String)] = [
      ("parameters", Self.grouped(binaryParameters + realParameters), ""),
      ("  binary", Self.grouped(binaryParameters), "1 bit each once trained"),
      ("  real", Self.grouped(realParameters), "float32"),
      ("packed model", Self.size(packedModelBytes), "the result, ready to use"),
      ("", "", ""),
      ("ranks", Self.grouped(ranks), "any number from 1 to \(lanes) gives the same result"),
      ("lanes", Self.grouped(lanes), "micro-batches of a step"),
      ("lanes a rank", perRank, ""),
      ("", "", ""),
      ("memory a rank", Self.size(memory.total), share(memory.total, of: replicatedMemory.total)),
      ("  weights", Self.size(memory.weights), weightsNote),
      ("  packed weights", Self.size(memory.packed), "1 bit each, in two layouts"),
      ("  moments", Self.size(memory.moments), synchronisation == .sharded ? "1/\(ranks) of them" : "all"),
      ("  these three", Self.size(memory.state), share(memory.state, of: replicatedMemory.state)),
      ("  gradients", Self.size(memory.gradients), "of a lane, and the sum in \(gradientFormat)"),
      ("  exchange", Self.size(memory.exchange), ""),
      (
        "  checkpoint", Self.size(memory.checkpoint),
        "up to \(Self.size(memory.checkpointCopy)) more if writing outlasts a step"
      ),
      ("  activations", Self.size(memory.activations), "of a slice of a micro-batch"),
    ]
    if memory.teacher > 0 { rows.append(("  teacher", Self.size(memory.teacher), "if of the model's shape")) }
    rows += [
      ("", "", ""),
      ("steps", Self.grouped(steps), ""),
      ("steps an epoch", Self.grouped(stepsPerEpoch), "\(Self.grouped(tailSamples)) samples left over"),
      (
        "epochs", String(format: "%.2f", epochs),
        stepsPerEpoch == 0 ? "fewer samples than one step takes" : ""
      ),
      ("tokens a step", Self.grouped(tokensPerStep), "padding included"),
      ("tokens", Self.grouped(tokensPerStep * steps), ""),
      ("", "", ""),
      ("sent a step", Self.size(traffic.total), allReduceNote),
      ("  gradients", Self.size(traffic.gradients), gradientFormat.rawValue),
      (
        "  values", Self.size(traffic.values),
        synchronisation == .sharded ? "real-valued parameters, float32" : ""
      ),
      ("  signs", Self.size(traffic.signs), "of binary matrices"),
      ("  sums", Self.size(traffic.sums), "for norm, means and scales"),
      ("  busiest rank", Self.size(mostSent), busiestNote),
    ]
    let width = rows.map(\.1.count).max() ?? 0
    return rows.map { name, value, note in
      if name.isEmpty { return "\n" }
      let gap = String(repeating: " ", count: width - value.count)
      let row = name.padding(toLength: 22, withPad: " ", startingAt: 0) + gap + value
      return note.isEmpty ? row + "\n" : row + "  " + note + "\n"
    }.joined()
  }

  private var weightsNote: String {
    synchronisation == .sharded ? "all real-valued, 1/\(ranks) of the latent weights" : "all"
  }

  private func share(_ own: Int, of replicated: Int) -> String {
    synchronisation == .sharded
      ? "\(Self.percent(own, replicated)) of \(Self.size(replicated)) replicated" : "replicated"
  }

  private var allReduceNote: String {
    ranks == 1
      ? "" : "all ranks; \(Self.percent(traffic.total, allReduceBytes)) of an all-reduce in float32"
  }

  private var busiestNote: String {
    ranks == 1 ? "" : "\(Self.percent(mostSent * ranks, allReduceBytes)) of its part of one"
  }

  private static func percent(_ part: Int, _ whole: Int) -> String {
    String(format: "%.1f %%", 100 * Double(part) / Double(whole))
  }

  /// 1234567 as `1,234,567`.
  static func grouped(_ value: Int) -> String {
    var digits = String(value)
    var position = digits.count - 3
    while position > 0 {
      digits.insert(",", at: digits.index(digits.startIndex, offsetBy: position))
      position -= 3
    }
    return digits
  }

  /// Bytes in the unit that suits them.
  static func size(_ bytes: Int) -> String {
    let (kib, mib, gib) = (1024.0, 1_048_576.0, 1_073_741_824.0)
    let value = Double(bytes)
    if value >= gib { return String(format: "%.2f GiB", value / gib) }
    if value >= mib { return String(format: "%.1f MiB", value / mib) }
    return String(format: "%.1f KiB", value / kib)
  }
}
