import ArgumentParser
import BinaryModel
import Foundation
import Kernels
import LeastSquares
import Planning

/// `bipft bench …`
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure what training and packed models reach on this machine.",
    subcommands: [Kernels.self, Step.self, Inference.self, UntrainedModel.self])

  struct Kernels: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Time the products of BERT-base's binary layers on one core.")

    @Option(help: "Tokens of a micro-batch.")
    var rows = 1024
    @Option(help: "Repetitions, of which the fastest counts.")
    var repeats = 10
    @Flag(help: "One JSON object a line.")
    var json = false

    func run() throws {
      let peaks = KernelPeaks()
      if !json {
        let measured = [
          ("bits", peaks.bits), ("bytes", peaks.bytes), ("bfloat16", peaks.bfloat16),
          ("float32", peaks.float32),
        ]
        .map { String(format: "%@ %.3f", $0.0, $0.1 / 1e12) }.joined(separator: ", ")
        print(
          """
          kernels: \(InstructionSet.name); peak of one core, T/s: \(measured) (0: no such loop)
          product          rows × inputs × outputs        ms     T/s  of peak
          """)
      }
      for (inputs, outputs) in [(768, 768), (768, 3072), (3072, 768)] {
        for t in benchmarkProducts(
          rows: rows, inputs: inputs, outputs: outputs, repeats: repeats, peaks: peaks)
        {
          if json {
            let share = t.share.map { String(format: "%.4f", $0) } ?? "null"
            let peak = t.peak.map { String(format: "%.4f", $0 / 1e12) } ?? "null"
            print(
              String(
                format:
                  #"{"kernels":"%@","product":"%@","rows":%d,"inputs":%d,"outputs":%d,"ms":%.4f,"teraops":%.4f,"share":%@,"peak_teraops":%@}"#,
                InstructionSet.name, t.kernel, t.shape.0, t.shape.1, t.shape.2, t.seconds * 1e3,
                t.rate / 1e12,
                share, peak))
          } else {
            let name = t.kernel.padding(toLength: 15, withPad: " ", startingAt: 0)
            let rate = t.rate > 0 ? String(format: "%6.3f", t.rate / 1e12) : "      "
            let share = t.share.map { String(format: "%6.0f %%", $0 * 100) } ?? ""
            print(
              String(
                format: "%@  %5d × %4d × %4d  %14.2f  %@%@", name, t.shape.0, t.shape.1, t.shape.2,
                t.seconds * 1e3, rate, share))
          }
        }
      }
    }
  }

  struct Step: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Time whole training steps of one rank on made-up batches (BERT-base unless told otherwise).")

    @Option var hidden = 768
    @Option var layers = 12
    @Option var heads = 12
    @Option var intermediate = 3072
    @Option var vocabulary = 30522
    @Option(help: "Tokens of a sequence.") var length = 128
    @Option(help: "Micro-batches of a step.") var lanes = 2
    @Option(help: "Sequences of a micro-batch.") var microBatch = 8
    @Option(help: "Steps, of which the fastest counts.") var steps = 3
    @Option var threads = ProcessInfo.processInfo.activeProcessorCount
    @Option(help: "training.backward_precision: float32, bfloat16 or int8.") var precision = "int8"
    @Option(help: "model.activation_bits: 1, 2, 4 or 8.") var activationBits = 1
    @Option(help: "Weights of a full-precision BERT of this shape to distil from.") var teacher: String?
    @Flag(help: "One JSON object.") var json = false

    func validate() throws {
      guard BackwardPrecision(rawValue: precision) != nil else {
        throw ValidationError(
          "--precision \(precision): use one of \(BackwardPrecision.allCases.map(\.rawValue).joined(separator: ", "))"
        )
      }
      guard [1, 2, 4, 8].contains(activationBits) else {
        throw ValidationError("--activation-bits \(activationBits): use 1, 2, 4 or 8")
      }
      guard [hidden, layers, heads, intermediate, lanes, microBatch, steps, threads].allSatisfy({ $0 > 0 }),
        hidden % heads == 0, vocabulary >= 5, length >= 2
      else { throw ValidationError("sizes are above 0, and --heads divides --hidden") }
    }

    func run() throws {
      useSingleThreadedBLAS()
      startThreads(threads)
      let benchmark = StepBenchmark(
        model: ModelConfiguration(
          vocabularySize: vocabulary, hiddenSize: hidden, layers: layers, heads: heads,
          intermediateSize: intermediate, maximumLength: max(512, length), estimatorRank: 1, dropout: 0.1,
          activationBits: activationBits),
        lanes: lanes, microBatch: microBatch, length: length,
        precision: BackwardPrecision(rawValue: precision)!,
        teacher: teacher)
      let result: StepBenchmark.Result
      do { result = try benchmark.run(steps: steps) } catch {
        FileHandle.standardError.write(Data("bipft: \(error)\n".utf8))
        throw ExitCode(78)
      }
      let t = result.times
      let phases = [
        ("teacher", t.teacher), ("forward", t.forward), ("backward", t.backward), ("update", t.update),
      ]
      if json {
        let parts = phases.map { String(format: #""%@_s":%.4f"#, $0.0, $0.1) }.joined(separator: ",")
        print(
          String(
            format:
              #"{"kernels":"%@","threads":%d,"precision":"%@","activation_bits":%d,%@,"step_s":%.4f,"tokens_per_s":%.1f,"peak_rss_mib":%d}"#,
            InstructionSet.name, threadCount, precision, activationBits, parts, t.total,
            result.tokensPerSecond,
            peakResidentBytes() >> 20))
      } else {
        print(
          "kernels \(InstructionSet.name), \(threadCount) threads, backward \(precision), "
            + "activations of \(activationBits) bit\(activationBits == 1 ? "" : "s")")
        for (name, seconds) in phases {
          print(
            String(
              format: "%@ %8.3f s  %5.1f %%", name.padding(toLength: 9, withPad: " ", startingAt: 0), seconds,
              100 * seconds / t.total))
        }
        print(
          String(
            format: "step      %8.3f s  %.0f tokens/s  peak memory %d MiB  loss %.4f", t.total,
            result.tokensPerSecond, peakResidentBytes() >> 20, result.loss))
      }
    }
  }
}
