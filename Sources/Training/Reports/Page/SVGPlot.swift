/// A plot of curves over steps as inline SVG, readable without script: axes with round numbers, a legend, values on hovering, and a
/// table of values beneath.
struct SVGPlot {
  struct Series {
    let name: String
    /// In the order of their steps.
    let points: [Curve.Point]
  }

  let title: String
  let series: [Series]

  private static let (width, height) = (720.0, 260.0)
  private static let (left, right, top, bottom) = (78.0, 26.0, 12.0, 30.0)

  /// Nothing without points.
  var html: String {
    let shown = series.filter { !$0.points.isEmpty }
    let all = shown.flatMap(\.points)
    guard let steps = Self.range(all.map { Double($0.step) }), let values = Self.range(all.map(\.value))
    else {
      return ""
    }
    let (xs, ys) = (Axis(steps, wanted: 8), Axis(values, wanted: 5))
    func x(_ step: Double) -> Double {
      Self.left + (step - xs.low) / (xs.high - xs.low) * (Self.width - Self.left - Self.right)
    }
    func y(_ value: Double) -> Double {
      Self.height - Self.bottom
        - (value - ys.low) / (ys.high - ys.low) * (Self.height - Self.top - Self.bottom)
    }
    var svg = ""
    for tick in ys.ticks {
      let place = coordinate(y(tick))
      svg +=
        "<line class=\"grid\" x1=\"\(coordinate(Self.left))\" x2=\"\(coordinate(Self.width - Self.right))\" y1=\"\(place)\" "
        + "y2=\"\(place)\"/><text x=\"\(coordinate(Self.left - 6))\" y=\"\(coordinate(y(tick) + 4))\" text-anchor=\"end\">"
        + "\(shortNumber(tick))</text>\n"
    }
    for tick in xs.ticks {
      svg +=
        "<text x=\"\(coordinate(x(tick)))\" y=\"\(coordinate(Self.height - 10))\" text-anchor=\"middle\">"
        + "\(shortNumber(tick))</text>\n"
    }
    for (index, series) in shown.enumerated() {
      let path = series.points.map { "\(coordinate(x(Double($0.step)))),\(coordinate(y($0.value)))" }
      if path.count == 1 {
        let place = path[0].split(separator: ",")
        svg += "<circle class=\"s\(index % 8)\" cx=\"\(place[0])\" cy=\"\(place[1])\" r=\"3\"/>\n"
      } else {
        svg += "<polyline class=\"s\(index % 8)\" points=\"\(path.joined(separator: " "))\"/>\n"
      }
    }
    svg += hovers(shown, steps: steps, x: x)
    let legend =
      shown.count > 1
      ? "<p class=\"legend\">"
        + shown.enumerated().map { "<span><i class=\"s\($0 % 8)\"></i>\(escapedText($1.name))</span>" }
        .joined()
        + "</p>" : ""
    return """
      <figure><figcaption>\(escapedText(title))</figcaption>
      <svg viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" aria-label="\(escapedText(words(shown)))">
      \(svg)</svg>\(legend)
      \(table(shown))</figure>

      """
  }

  /// What the plot shows, for those who do not see it: the first series with where they begin and end.
  private func words(_ shown: [Series]) -> String {
    let told = shown.prefix(4).map { series in
      let (first, last) = (series.points[0], series.points[series.points.count - 1])
      return
        "\(series.name) from \(shortNumber(first.value)) at step \(first.step) to \(shortNumber(last.value)) at \(last.step)"
    }
    let more = shown.count > told.count ? "; \(shown.count - told.count) more" : ""
    return "\(title) over steps: \(told.joined(separator: "; "))\(more). The table beneath has values."
  }

  /// Columns that tell the values at their step when pointed at.
  private func hovers(_ shown: [Series], steps: ClosedRange<Double>, x: (Double) -> Double) -> String {
    let count = 60
    let span = (steps.upperBound - steps.lowerBound) / Double(count)
    guard span > 0 else { return "" }
    return (0...count).map { index in
      let step = steps.lowerBound + Double(index) * span
      let values = shown.compactMap { series in
        series.nearest(step).map { "\(series.name): \(shortNumber($0.value)) (step \($0.step))" }
      }
      let start = max(x(step - span / 2), Self.left)
      return "<rect class=\"hover\" x=\"\(coordinate(start))\" y=\"\(coordinate(Self.top))\" "
        + "width=\"\(coordinate(max(0, x(step + span / 2) - start)))\" height=\"\(coordinate(Self.height - Self.top - Self.bottom))\">"
        + "<title>\(escapedText(values.joined(separator: "\n")))</title></rect>\n"
    }.joined()
  }

  private func table(_ shown: [Series]) -> String {
    let steps = Set(shown.flatMap { $0.points.map(\.step) }).sorted()
    let rows = min(12, steps.count)
    let chosen = (0..<rows).map { steps[rows == 1 ? 0 : $0 * (steps.count - 1) / (rows - 1)] }
    let head = "<tr><th>step</th>" + shown.map { "<th>\(escapedText($0.name))</th>" }.joined() + "</tr>"
    let body = chosen.map { step in
      "<tr><td>\(step)</td>"
        + shown.map { "<td>\($0.nearest(Double(step)).map { shortNumber($0.value) } ?? "")</td>" }.joined()
        + "</tr>"
    }.joined(separator: "\n")
    return
      "<details><summary>values</summary><div class=\"scroll\"><table><thead>\(head)</thead><tbody>\n\(body)\n"
      + "</tbody></table></div></details>"
  }

  private static func range(_ values: [Double]) -> ClosedRange<Double>? {
    guard let low = values.min(), let high = values.max() else { return nil }
    return low...high
  }
}

extension SVGPlot.Series {
  /// The point whose step is nearest.
  fileprivate func nearest(_ step: Double) -> Curve.Point? {
    var (low, high) = (0, points.count)
    while low < high {
      let middle = (low + high) / 2
      if Double(points[middle].step) < step { low = middle + 1 } else { high = middle }
    }
    return [low - 1, low].filter(points.indices.contains).map { points[$0] }
      .min { abs(Double($0.step) - step) < abs(Double($1.step) - step) }
  }
}

/// An axis with round numbers on it.
private struct Axis {
  let low: Double
  let high: Double
  let ticks: [Double]

  init(_ range: ClosedRange<Double>, wanted: Int) {
    var (low, high) = (range.lowerBound, range.upperBound)
    if high - low < 1e-12 * max(abs(low), 1e-6) {
      let margin = max(abs(low) * 0.05, 1e-6)
      (low, high) = (low - margin, high + margin)
    }
    let rough = (high - low) / Double(wanted)
    var unit = 1.0
    while unit > rough { unit /= 10 }
    while unit * 10 <= rough { unit *= 10 }
    let step = [1.0, 2, 5, 10].map { $0 * unit }.first { $0 >= rough } ?? unit * 10
    (self.low, self.high) = (low, high)
    let first = (low / step).rounded(.up)
    ticks = (0...2 * wanted).map { (first + Double($0)) * step }.filter { $0 <= high * (1 + 1e-12) + 1e-300 }
  }
}

/// One digit behind the point.
private func coordinate(_ value: Double) -> String {
  let tenths = Int((value * 10).rounded())
  return "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10)"
}

/// Four digits that count, or thousands and millions for large whole numbers.
func shortNumber(_ value: Double) -> String {
  guard value.isFinite else { return "-" }
  let size = abs(value)
  if size >= 1e15 { return "\(Float(value))" }
  for (limit, unit) in [(1e9, "G"), (1e6, "M"), (1e4, "k")] where size >= limit {
    return trimmed((value / (limit == 1e4 ? 1e3 : limit) * 100).rounded() / 100) + unit
  }
  if size >= 100 { return trimmed((value * 10).rounded() / 10) }
  if size >= 0.001 { return trimmed((value * 10_000).rounded() / 10_000) }
  return size == 0 ? "0" : scientific(value)
}

private func trimmed(_ value: Double) -> String {
  value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
}

private func scientific(_ value: Double) -> String {
  var (mantissa, exponent) = (value, 0)
  while abs(mantissa) < 1 && exponent > -400 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
  return "\(trimmed((mantissa * 100).rounded() / 100))e\(exponent)"
}

func escapedText(_ text: String) -> String {
  text.reduce(into: "") { out, character in
    switch character {
    case "&": out += "&amp;"
    case "<": out += "&lt;"
    case ">": out += "&gt;"
    case "\"": out += "&quot;"
    default: out.append(character)
    }
  }
}
