import BinaryModel
import DurableFiles

/// A measurement of residuals as a table for a terminal, as JSON, and as a page with a plot.
extension ResidualMeasurement {
  private static let columns = [
    "layer", "head", "residual/scores", "Qb dK", "dQ Kb", "dQ dK", "rank 50 %", "rank 90 %", "explained",
    "V residual", "V explained",
  ]

  private func cells(_ r: HeadResiduals) -> [String] {
    let hasEstimators = model.estimatorRank > 0
    return [
      number(r.residual / r.scores), number(r.keyTerm / r.scores), number(r.queryTerm / r.scores),
      number(r.bothTerm / r.scores), "\(r.rank(for: 0.5))", "\(r.rank(for: 0.9))",
      hasEstimators ? percent(r.scoresExplained) : "-", number(r.valueResidual / r.values),
      hasEstimators ? percent(r.valuesExplained) : "-",
    ]
  }

  private var rows: [[String]] {
    layers.flatMap { layer in
      [["\(layer.layer)", "all"] + cells(layer.all)]
        + layer.heads.enumerated().map { ["\(layer.layer)", "\($0.offset)"] + cells($0.element) }
    }
  }

  /// What each column is, a line each.
  private static let legend = [
    "Energies are sums of squares over real tokens, as shares of the scores' (Q Kᵀ) or the values' (V) own; b: binarised, d: "
      + "what that threw away.",
    "rank: that holds so much of the residual, chosen for each sequence. explained: R² of the estimators, each row of the "
      + "residual less its mean, which softmax does not see.",
  ]

  /// A table, a line a layer, and a head where asked.
  public func text(heads: Bool) -> String {
    let shown = [Self.columns] + rows.filter { heads || $0[1] == "all" }
    let widths = Self.columns.indices.map { column in shown.map { $0[column].count }.max()! }
    var lines = shown.map { row in
      zip(row, widths).map { String(repeating: " ", count: $1 - $0.count) + $0 }.joined(separator: "  ")
    }
    lines += [""] + Self.legend
    lines += [
      "",
      "common to all heads: "
        + layers.map { "layer \($0.layer) \(percent($0.commonShare))" }.joined(separator: ", "),
    ]
    for (index, first) in (layers.first?.attainable ?? []).enumerated() {
      func line(_ what: String, _ perHead: Bool, _ share: (AttainableShare) -> Double) -> String {
        let cost = cost(rank: first.rank, perHead: perHead, length: sequenceLength)
        return "rank \(first.rank), \(what): "
          + layers.map { percent(share($0.attainable[index])) }.joined(separator: ", ")
          + "; \(cost.parameters) parameters and \(cost.multiplications) multiplications a token and layer"
      }
      if index == 0 {
        lines += [
          "", "within reach of a fit (to half of the sequences, measured on the others), layer by layer:",
        ]
      }
      lines.append(line("shared", false) { $0.shared })
      if first.perHead != nil { lines.append(line("per head", true) { $0.perHead! }) }
    }
    return lines.joined(separator: "\n")
  }

  /// One object: all numbers.
  public var json: String {
    func value(_ x: Double) -> String { JSONText.number(Float(x)) }
    func object(_ r: HeadResiduals) -> String {
      JSONText.object([
        ("scores", value(r.scores)), ("residual", value(r.residual)), ("key_term", value(r.keyTerm)),
        ("query_term", value(r.queryTerm)), ("both_term", value(r.bothTerm)),
        ("seen_residual", value(r.seenResidual)), ("scores_explained", value(r.scoresExplained)),
        ("values", value(r.values)), ("value_residual", value(r.valueResidual)),
        ("values_explained", value(r.valuesExplained)), ("rank_50", "\(r.rank(for: 0.5))"),
        ("rank_90", "\(r.rank(for: 0.9))"),
      ])
    }
    func attainable(_ share: AttainableShare) -> String {
      JSONText.object(
        [("rank", "\(share.rank)"), ("shared", value(share.shared))]
          + (share.perHead.map { [("per_head", value($0))] } ?? []))
    }
    let objects = layers.map { layer in
      JSONText.object([
        ("layer", "\(layer.layer)"), ("all", object(layer.all)),
        ("heads", "[\(layer.heads.map(object).joined(separator: ", "))]"),
        ("common_share", value(layer.commonShare)),
        ("attainable", "[\(layer.attainable.map(attainable).joined(separator: ", "))]"),
      ])
    }
    return JSONText.object([
      ("checkpoint", JSONText.quoted(checkpoint)), ("step", "\(step)"), ("sequences", "\(sequences)"),
      ("estimator_rank", "\(model.estimatorRank)"), ("layers", "[\(objects.joined(separator: ", "))]"),
    ])
  }

  /// One page without script or network: a plot of each layer's residual and what the estimators leave, and the table.
  public var html: String {
    let (width, rowHeight, left) = (640, 34, 70)
    let ratios = layers.map { $0.all.seenResidual / $0.all.scores }
    let scale = Double(width - left - 60) / max(ratios.max() ?? 1, 1e-9)
    var bars = ""
    for (index, layer) in layers.enumerated() {
      let y = index * rowHeight + 8
      let (all, rest) = (ratios[index], ratios[index] * (1 - max(0, layer.all.scoresExplained)))
      let explained = model.estimatorRank > 0 ? percent(layer.all.scoresExplained) : "no estimators"
      bars += """
        <text x="\(left - 8)" y="\(y + 15)" text-anchor="end">layer \(layer.layer)</text>
        <rect class="all" x="\(left)" y="\(y)" width="\(number(all * scale))" height="20"><title>residual \(number(all)) of the \
        scores' energy</title></rect>
        <rect class="rest" x="\(left)" y="\(y)" width="\(number(rest * scale))" height="20"><title>left by the estimators: \
        \(number(rest)); explained \(explained)</title></rect>
        <text x="\(number(Double(left) + all * scale + 6))" y="\(y + 15)">\(number(all))</text>

        """
    }
    let table = rows.map { row in
      "<tr\(row[1] == "all" ? " class=\"sum\"" : "")>" + row.map { "<td>\($0)</td>" }.joined() + "</tr>"
    }.joined(separator: "\n")
    return """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
      <title>Residuals of step \(step)</title>
      <style>
      :root { color-scheme: light dark; --all: #d9a441; --rest: #3f6fb5; }
      body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }
      svg { width: 100%; max-width: \(width)px; height: auto; } svg text { font-size: 13px; fill: currentColor; }
      .all { fill: var(--all); } .rest { fill: var(--rest); }
      .scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
      td, th { text-align: right; padding: .15rem .6rem; white-space: nowrap; } .sum { font-weight: 600; border-top: 1px solid; }
      i { display: inline-block; width: .8em; height: .8em; }
      </style></head><body>
      <h1>What binarisation throws away</h1>
      <p>\(escapedText(checkpoint)), step \(step), \(sequences) held-out sequences, estimators of rank \(model.estimatorRank).</p>
      <h2>Residual of the scores, of their own energy</h2>
      <p><i class="rest" style="background: var(--rest)"></i> left by the estimators
      <i class="all" style="background: var(--all)"></i> explained by them</p>
      <svg viewBox="0 0 \(width) \(layers.count * rowHeight + 10)" role="img" aria-label="Residual of the scores a layer: the \
      same numbers as in the table">
      \(bars)</svg>
      <h2>Layers and heads</h2>
      \(Self.legend.map { "<p>\($0)</p>" }.joined(separator: "\n"))
      <div class="scroll"><table><thead><tr>\(Self.columns.map { "<th>\($0)</th>" }.joined())</tr></thead><tbody>
      \(table)
      </tbody></table></div>
      </body></html>

      """
  }
}

/// Three digits behind the point.
private func number(_ value: Double) -> String {
  guard value.isFinite, abs(value) < 1e12 else { return "-" }
  let thousandths = Int((abs(value) * 1000).rounded())
  let digits = String(1000 + thousandths % 1000).dropFirst()
  return (value < 0 && thousandths > 0 ? "-" : "") + "\(thousandths / 1000).\(digits)"
}

private func percent(_ share: Double) -> String {
  share.isFinite ? "\((share * 1000).rounded() / 10) %" : "-"
}
