import Coordinator
import DurableFiles
import Foundation
import RunSettings
import Telemetry

/// One page about one run or several side by side, that needs neither script nor network: `bipft report`. Made from the files of the
/// runs alone, also while they go on.
public struct RunReport {
  private let runs: [RunData]
  private let names: [String]

  /// Reads the runs in these folders.
  ///
  /// - Throws: `TrainingError.unreadable` for a folder without a run.
  /// - Cost: reads their metrics once; memory of some 1,000 points a curve.
  public init(runs paths: [String]) throws(TrainingError) {
    var runs: [RunData] = []
    for path in paths { runs.append(try RunData(path: path)) }
    self.runs = runs
    let last = paths.map { URL(fileURLWithPath: $0).lastPathComponent }
    names = Set(last).count == last.count ? last : paths
  }

  /// The page.
  ///
  /// - Parameter time: when it is made.
  public func html(at time: Date = Date()) -> String {
    """
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(escapedText(names.joined(separator: ", ")))</title>
    <style>
    \(Self.style)</style></head><body>
    <header><h1>\(escapedText(names.joined(separator: ", ")))</h1>
    <p>Made \(time.formatted(.iso8601)) from the files of the run\(runs.count == 1 ? "" : "s").</p></header>
    <section><h2>State</h2>
    \(summary)\(problems)</section>
    \(section("Loss", plots(["loss"]) + plots(lossTerms)))
    \(section("What evaluations find", plots(metrics)))
    \(section("Optimizer", plots(["learning_rate", "gradient_norm"])))
    \(section("Throughput", plots(["tokens_per_second"]) + phases))
    \(section("Vital signs", vitals))
    \(section("Starts and ends", history))
    \(section("Checkpoints", checkpoints))
    \(section("Configuration", configuration))
    </body></html>

    """
  }

  // MARK: Parts

  private func section(_ title: String, _ content: String) -> String {
    content.isEmpty ? "" : "<section><h2>\(title)</h2>\n\(content)</section>"
  }

  private func table(_ head: [String], _ rows: [[String]], marked: Set<Int> = []) -> String {
    if rows.isEmpty { return "" }
    let body = rows.enumerated().map { index, row in
      "<tr\(marked.contains(index) ? " class=\"differs\"" : "")><th>\(escapedText(row[0]))</th>"
        + row.dropFirst().map { "<td>\(escapedText($0))</td>" }.joined() + "</tr>"
    }.joined(separator: "\n")
    return
      "<div class=\"scroll\"><table><thead><tr>\(head.map { "<th>\(escapedText($0))</th>" }.joined())</tr></thead>"
      + "<tbody>\n\(body)\n</tbody></table></div>\n"
  }

  private var summary: String {
    func row(_ title: String, _ value: (RunData) -> String) -> [String] { [title] + runs.map(value) }
    func loss(_ run: RunData, _ point: (Curve) -> Curve.Point?) -> String {
      guard let curve = run.curves["eval/loss"], let found = point(curve) else { return "-" }
      return "\(shortNumber(found.value)) (step \(found.step))"
    }
    return table(
      [""] + names,
      [
        row("state") { $0.state ?? "-" },
        row("steps") { run in
          "\(run.steps) of \(run.settings.first { $0.key == "training.steps" }?.value ?? "?")"
        },
        row("held-out loss at first") { loss($0, \.first) },
        row("held-out loss at last") { loss($0, \.last) },
        row("best evaluation") { run in
          run.best.map { "\($0.metric) \(shortNumber($0.value)) (step \($0.step))" } ?? "-"
        },
        row("tokens") { shortNumber($0.tokens) },
        row("tokens a second, mean") { $0.seconds > 0 ? shortNumber($0.tokens / $0.seconds) : "-" },
        row("time in steps") { ProgressText.duration($0.seconds) },
        row("corpus") { $0.corpus ?? "-" },
        row("starts") { "\($0.events.count { $0.event == .start })" },
        row("ranks of the last start") { run in
          run.events.last { $0.event == .start }?.ranks.map { "\($0)" } ?? "-"
        },
        row("machines of the last start") { run in
          run.events.last { $0.event == .start }?.hosts.map { hosts in
            hosts.prefix(8).joined(separator: ", ") + (hosts.count > 8 ? " and \(hosts.count - 8) more" : "")
          } ?? "-"
        },
        row("arithmetic") { run in
          run.events.last { $0.event == .start }?.arithmetic.map {
            [$0.kernels, $0.openblas].compactMap(\.self).joined(separator: ", ")
          } ?? "-"
        },
      ])
  }

  private var problems: String {
    let lines = zip(names, runs).flatMap { name, run in run.problems.map { "\(name): \($0)" } }
    return lines.map { "<p class=\"problem\">\(escapedText($0))</p>\n" }.joined()
  }

  /// Keys of curves that some run has, in their order, without their group.
  private func keys(_ isWanted: (String) -> Bool) -> [String] {
    var found: [String] = []
    for run in runs {
      for name in run.names {
        let key = String(name.drop { $0 != "/" }.dropFirst())
        if isWanted(key), !found.contains(key) { found.append(key) }
      }
    }
    return found
  }

  private var lossTerms: [String] { keys { $0.hasSuffix("_loss") } }
  private var metrics: [String] {
    let others = ["loss", "learning_rate", "gradient_norm", "tokens_per_second"]
    return keys { !$0.hasSuffix("_loss") && !others.contains($0) }
  }

  /// One plot a key: each run's training and evaluations.
  private func plots(_ keys: [String]) -> String {
    keys.map { key in
      let series = zip(names, runs).flatMap { name, run in
        [("train", "training"), ("eval", "held out")].compactMap { group, words -> SVGPlot.Series? in
          guard let curve = run.curves["\(group)/\(key)"] else { return nil }
          return SVGPlot.Series(name: runs.count == 1 ? words : "\(name), \(words)", points: curve.points)
        }
      }
      return SVGPlot(title: key.replacingOccurrences(of: "_", with: " "), series: series).html
    }.joined()
  }

  private var phases: String {
    var order: [String] = []
    for run in runs { for phase in run.phases where !order.contains(phase.name) { order.append(phase.name) } }
    let rows = order.map { phase in
      [phase]
        + runs.map { run in
          let all = run.phases.reduce(0) { $0 + $1.seconds }
          guard let own = run.phases.first(where: { $0.name == phase }), all > 0 else { return "-" }
          return "\(shortNumber(own.seconds)) s, \(shortNumber((own.seconds / all * 1000).rounded() / 10)) %"
        }
    }
    return rows.isEmpty ? "" : "<h3>Where the time goes</h3>" + table(["phase"] + names, rows)
  }

  private var vitals: String {
    zip(names, runs).map { name, run in
      guard let last = run.vitals.last else { return "" }
      func plot(_ title: String, _ values: (VitalSigns) -> [Float]) -> String {
        let count = run.vitals.map { values($0).count }.max() ?? 0
        let series = (0..<count).map { layer in
          SVGPlot.Series(
            name: "layer \(layer)",
            points: run.vitals.filter { values($0).indices.contains(layer) && values($0)[layer].isFinite }
              .map { Curve.Point(step: $0.step, value: Double(values($0)[layer])) })
        }
        return SVGPlot(title: title, series: series).html
      }
      let kinds = ["clip_query", "clip_key", "clip_value", "clip_attn", "input_clip_val"]
      let steps = kinds.map { kind in
        let chosen = last.stepSizes.map(\.name).filter { $0.hasSuffix(kind) }
        let series = chosen.map { name in
          SVGPlot.Series(
            name: name,
            points: run.vitals.compactMap { signs in
              signs.stepSizes.first { $0.name == name && $0.value.isFinite }
                .map { Curve.Point(step: signs.step, value: Double($0.value)) }
            })
        }
        return SVGPlot(title: "step sizes: \(kind)", series: series).html
      }.joined()
      return (runs.count == 1 ? "" : "<h3>\(escapedText(name))</h3>\n")
        + plot("share of signs that flipped since the evaluation before") { $0.flipped ?? [] }
        + plot("share of activations beyond the gradients' window") { $0.clipped }
        + plot("share of ones among the probabilities") { $0.attentionOnes }
        + plot("norm of the estimate, of the residual's") { $0.estimateRatio } + steps + distances(last)
    }.joined()
  }

  /// How far the latent weights are from their mean, a small plot a layer.
  private func distances(_ vitals: VitalSigns) -> String {
    let plots = vitals.distances.enumerated().map { layer, counts in
      let most = Double(max(1, counts.max() ?? 1))
      let near = Double(counts.prefix(5).reduce(0, +)) / Double(max(1, counts.reduce(0, +)))
      func index(_ bucket: Int) -> String { "\(bucket / 10).\(bucket % 10)" }
      let bars = counts.enumerated().map { bucket, count in
        let height = (Double(count) / most * 600).rounded() / 10
        return
          "<rect x=\"\(bucket * 6)\" y=\"\(60 - height)\" width=\"5\" height=\"\(height)\"><title>\(count) weights "
          + "\(index(bucket)) mean|w| from their mean</title></rect>"
      }.joined()
      let values = table(
        ["from", "weights"],
        counts.enumerated().map { [index($0), "\($1)"] })
      return
        "<figure class=\"small\"><figcaption>layer \(layer)</figcaption><svg class=\"bars\" viewBox=\"0 0 180 60\" "
        + "role=\"img\" aria-label=\"histogram of distances, layer \(layer): \(shortNumber(near * 100)) % nearer than 0.5\">\(bars)</svg>"
        + "<details><summary>values</summary>\(values)</details></figure>"
    }.joined(separator: "\n")
    return plots.isEmpty
      ? ""
      : "<h3>Distance of the latent weights from their mean, 0 to 3 mean|w|, step \(vitals.step)</h3>\n<div class=\"row\">\(plots)</div>\n"
  }

  private var history: String {
    let rows = zip(names, runs).flatMap { name, run in
      run.events.map { event in
        [
          "\(event.time)", name, event.event.rawValue, "\(event.step)",
          [
            event.ranks.map { $0 == 1 ? "1 rank" : "\($0) ranks" },
            event.hosts.map { $0.count == 1 ? "on \($0[0])" : "on \($0.count) hosts" },
            event.reached.flatMap { $0 > event.step ? "steps up to \($0) done again" : nil },
            event.from.map { "from \($0)" }, event.reason,
          ].compactMap { $0 }.joined(separator: ", "),
        ]
      }
    }
    return table(["time", "run", "what", "step", ""], Array(rows.suffix(200)))
  }

  private var checkpoints: String {
    table(
      ["checkpoint", "run", "bytes"],
      zip(names, runs).flatMap { name, run in
        run.checkpoints.map { [$0.name, name, shortNumber(Double($0.bytes))] }
      })
  }

  private var configuration: String {
    var order: [String] = []
    for run in runs {
      for setting in run.settings where !order.contains(setting.key) { order.append(setting.key) }
    }
    let rows = order.map { key in
      [key] + runs.map { run in run.settings.first { $0.key == key }?.value ?? "-" }
    }
    let marked = rows.indices.filter { Set(rows[$0].dropFirst()).count > 1 }
    let note = runs.count > 1 ? "<p>Marked: what differs between the runs (\(marked.count) keys).</p>\n" : ""
    return note + table(["key"] + names, rows, marked: Set(marked))
  }

  private static let style = """
    :root { color-scheme: light dark; --text: #1c1e21; --back: #ffffff; --soft: #6b7280; --line: #e2e4e8; --mark: #fff3c4;
      --c0: #2f6fb4; --c1: #c2571a; --c2: #2f8f4e; --c3: #8a4fbf; --c4: #b3304f; --c5: #6b7d1e; --c6: #1f8a8a; --c7: #8b6b4a; }
    @media (prefers-color-scheme: dark) { :root { --text: #e6e7ea; --back: #15171a; --soft: #9aa1ac; --line: #30343a; --mark: #4a3f16;
      --c0: #74aee8; --c1: #f0985c; --c2: #74cf92; --c3: #c39af0; --c4: #f0809a; --c5: #c0d060; --c6: #62cfcf; --c7: #cdae8c; } }
    body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 60rem; margin: 1.5rem auto;
      padding: 0 1rem; }
    h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
    h3 { font-size: 1rem; } header p, summary, figcaption { color: var(--soft); }
    figure { margin: 1rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; display: block; }
    svg text { font-size: 11px; fill: var(--soft); } .grid { stroke: var(--line); } .hover { fill: transparent; }
    .hover:hover { fill: var(--line); fill-opacity: .5; } polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
    polyline.s0 { stroke: var(--c0); } polyline.s1 { stroke: var(--c1); } polyline.s2 { stroke: var(--c2); } polyline.s3 { stroke: var(--c3); }
    polyline.s4 { stroke: var(--c4); } polyline.s5 { stroke: var(--c5); } polyline.s6 { stroke: var(--c6); } polyline.s7 { stroke: var(--c7); }
    i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px; } .legend span { margin-right: 1rem; white-space: nowrap; }
    i.s0 { background: var(--c0); } i.s1 { background: var(--c1); } i.s2 { background: var(--c2); } i.s3 { background: var(--c3); }
    i.s4 { background: var(--c4); } i.s5 { background: var(--c5); } i.s6 { background: var(--c6); } i.s7 { background: var(--c7); }
    circle.s0 { fill: var(--c0); } circle.s1 { fill: var(--c1); } circle.s2 { fill: var(--c2); } circle.s3 { fill: var(--c3); }
    circle.s4 { fill: var(--c4); } circle.s5 { fill: var(--c5); } circle.s6 { fill: var(--c6); } circle.s7 { fill: var(--c7); }
    .bars rect { fill: var(--c0); } .row { display: flex; flex-wrap: wrap; gap: 1rem; } .small { width: 9.5rem; margin: 0; }
    .scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
    td, th { padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top; } th { white-space: nowrap; }
    td { overflow-wrap: anywhere; min-width: 5rem; } tbody th { font-weight: 400; color: var(--soft); }
    thead th { border-bottom: 1px solid var(--line); } .differs { background: var(--mark); } .problem { color: var(--c4); }
    /* Plots shrink with the page; what is written on them must not. */
    @media (max-width: 40rem) { svg text { font-size: 18px; } polyline { stroke-width: 2.4; }
      th { white-space: normal; } td { min-width: 8.5rem; overflow-wrap: break-word; } .small td { min-width: 0; } }
    @media print { body { max-width: none; } figure, tr { break-inside: avoid; } .hover { display: none; } }

    """
}
