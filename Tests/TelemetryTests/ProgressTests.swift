import Foundation
import Telemetry
import Testing

private let record = StepRecord(
  kind: .train, step: 120, loss: 9.12345, losses: [.init("mlm_loss", 8.4), .init("nsp_loss", 0.72345)],
  learningRate: 1e-3, gradientNorm: 1, tokensPerSecond: 12_345)

@Suite struct ProgressTextTests {
  private let text = ProgressText(record, steps: 600, secondsLeft: 200)

  @Test func fullLine() {
    #expect(
      text.line()
        == "step 120/600  [####----------------]  20 %  loss 9.1235  mlm 8.4000  nsp 0.7235  lr 1.00e-03  "
        + "12.3k tokens/s  3 min 20 s left")
  }

  @Test func narrowTerminalsLoseWhatMattersLeast() {
    #expect(
      text.line(width: 105)
        == "step 120/600  [####----------------]  20 %  loss 9.1235  lr 1.00e-03  12.3k tokens/s  3 min 20 s left"
    )
    #expect(text.line(width: 60) == "step 120/600  loss 9.1235  12.3k tokens/s  3 min 20 s left")
    #expect(text.line(width: 26) == "step 120/600  loss 9.1235")
    #expect(text.line(width: 5) == "step ")
    #expect(text.line(width: 0) == "")
    for width in 0...140 { #expect(text.line(width: width).count <= width) }
  }

  @Test func colorAddsNoWidth() {
    let colored = text.line(width: 105, color: true)
    #expect(colored.contains("\u{1B}[32m[####----------------]\u{1B}[0m"))
    let plain = colored.replacingOccurrences(of: "\u{1B}[32m", with: "").replacingOccurrences(
      of: "\u{1B}[0m", with: "")
    #expect(plain == text.line(width: 105))
    #expect(!text.line(width: 30, color: true).contains("\u{1B}"))
  }

  @Test func stepsAlign() {
    var first = text
    first.step = 7
    first.secondsLeft = nil
    #expect(first.line(width: 30) == "step   7/600  loss 9.1235")
  }

  @Test func times() {
    func left(_ seconds: Double) -> String {
      var other = text
      other.secondsLeft = seconds
      return String(other.line().split(separator: "/s  ").last!)
    }
    #expect(left(5) == "5 s left")
    #expect(left(59.6) == "1 min 0 s left")
    #expect(left(7260) == "2 h 1 min left")
    #expect(left(200_000) == "2 d 7 h left")
    #expect(left(.nan) == "- left")
  }

  @Test func evaluation() {
    #expect(
      ProgressText.evaluation(evaluationRecord(100))
        == "evaluation after step 100: loss 7.2500  mlm 6.5000  nsp 0.7500  mlm accuracy 12.5 %  nsp accuracy "
        + "50.0 %")
  }
}

@Suite struct ProgressLineTests {
  /// What `body` writes to the descriptor that it is given.
  private func output(_ body: (Int32) -> Void) -> String {
    let pipe = Pipe()
    body(pipe.fileHandleForWriting.fileDescriptor)
    try? pipe.fileHandleForWriting.close()
    return String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  }

  private func step(_ step: Int) -> StepRecord { trainRecord(step) }

  @Test func aPipeGetsPlainLinesNowAndThen() {
    let written = output { descriptor in
      #expect(
        ProgressLine.Style.detect(descriptor: descriptor, environment: ["TERM": "xterm"])
          == .plain(interval: 10))
      let line = ProgressLine(descriptor: descriptor, style: .plain(interval: 10), steps: 25)
      for number in 1...25 { line.update(step(number), at: Double(number)) }
      line.record(evaluationRecord(25))
      line.finish()
    }
    let lines = written.split(separator: "\n")
    #expect(
      lines.map { $0.prefix(11) } == [
        "step  1/25 ", "step 11/25 ", "step 21/25 ", "step 25/25 ", "evaluation ",
      ])
    #expect(!lines[0].contains("left"))
    #expect(lines[1].hasSuffix("  14 s left"))
    #expect(!written.contains("\u{1B}") && !written.contains("\r"))
  }

  /// The mean of the first losses, then an exponential one; a loss that is not finite is shown and forgotten.
  @Test func lossesAreSmoothed() {
    let written = output { descriptor in
      let line = ProgressLine(descriptor: descriptor, style: .plain(interval: 0), steps: 1000)
      func show(_ step: Int, _ loss: Float) {
        var record = trainRecord(step)
        record.loss = loss
        line.update(record, at: Double(step))
      }
      show(1, 4)
      show(2, 2)
      line.checkpoint(step: 2)
      show(3, .nan)
      show(4, 3)
      for step in 5...400 { show(step, 1) }
    }
    let losses = written.split(separator: "\n").map { line in
      line.components(separatedBy: "  ").first { $0.hasPrefix("loss ") } ?? ""
    }
    #expect(losses[..<4] == ["loss 4.0000", "loss 3.0000", "loss nan", "loss 3.0000"])
    #expect(losses.last == "loss 1.0000")
    let lines = written.split(separator: "\n")
    #expect(!lines[1].contains("saved"))
    #expect(lines[3].contains("  mean 1234  ") && lines[3].contains("  saved 2  "))
  }

  @Test func aTerminalLineIsRewrittenInPlace() {
    let written = output { descriptor in
      let line = ProgressLine(descriptor: descriptor, style: .terminal(color: false), steps: 10)
      line.message("begins")
      line.update(step(1), at: 0)
      line.update(step(2), at: 0.05)  // too soon to show
      line.update(step(3), at: 0.2)
      line.record(evaluationRecord(3))
      line.finish()
      line.finish()
    }
    // Only whole lines end in a line end, and each rewriting clears the old one.
    let parts = written.components(separatedBy: "\r\u{1B}[K")
    #expect(parts.count == 4)
    #expect(parts[0] == "begins\n")
    #expect(parts[1].hasPrefix("step  1/10") && !parts[1].contains("\n"))
    #expect(parts[2].hasPrefix("step  3/10") && !parts[2].contains("\n"))
    #expect(parts[3] == ProgressText.evaluation(evaluationRecord(3)) + "\n" + parts[2] + "\n")
  }

  @Test func aTerminalIsRecognisedAndItsWidthKept() throws {
    // A pseudo-terminal by hand, since Glibc's functions for it are not in the Swift overlay.
    let (unlock, number) = (UInt(0x4004_5431), UInt(0x8004_5430))  // TIOCSPTLCK, TIOCGPTN
    let terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY)
    var (locked, index) = (Int32(0), Int32(0))
    try #require(
      terminal >= 0 && ioctl(terminal, unlock, &locked) == 0 && ioctl(terminal, number, &index) == 0)
    let descriptor = open("/dev/pts/\(index)", O_RDWR | O_NOCTTY)
    try #require(descriptor >= 0)
    defer {
      close(descriptor)
      close(terminal)
    }
    var size = winsize(ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0)
    #expect(ioctl(descriptor, UInt(TIOCSWINSZ), &size) == 0)
    typealias Style = ProgressLine.Style
    #expect(Style.detect(descriptor: descriptor, environment: [:]) == .terminal(color: true))
    #expect(Style.detect(descriptor: descriptor, environment: ["NO_COLOR": "1"]) == .terminal(color: false))
    #expect(Style.detect(descriptor: descriptor, environment: ["TERM": "dumb"]) == .plain(interval: 10))
    let line = ProgressLine(descriptor: descriptor, style: .terminal(color: false), steps: 600)
    line.update(record, at: 0)
    var bytes = [UInt8](repeating: 0, count: 1000)
    let count = read(terminal, &bytes, bytes.count)
    let written = String(decoding: bytes.prefix(count), as: UTF8.self)
    #expect(written == "\r\u{1B}[K" + ProgressText(record, steps: 600, secondsLeft: nil).line(width: 59))
  }
}
