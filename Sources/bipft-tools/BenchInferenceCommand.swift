import ArgumentParser
import BinaryInference
import BinaryModel
import Corpora
import FileFormats
import Foundation
import Kernels
import ModelCommands

extension BenchCommand {
  /// `bipft bench inference MODEL`
  struct Inference: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Time a packed model on made-up tokens.",
      discussion: """
        Sentence vectors (embed) of one sequence of 16, 128 and 512 tokens on one thread, and of 16 sequences of 128 on two. \
        least_ms is the least processor time of a call on one thread (what other work on the machine takes does not count), \
        the least time by the clock on several; median_ms is by the clock; peak_mb the largest resident size of this process so \
        far, in million bytes.
        """)

    @Argument(help: ArgumentHelp("A packed model, as bench untrained-model makes one.", valueName: "model"))
    var model: String

    @Option(help: "Calls of each case.") var repeats = 30
    @Flag(help: "One JSON object a line.") var json = false

    func validate() throws {
      if repeats < 1 { throw ValidationError("--repeats \(repeats): use 1 or more") }
    }

    func run() throws {
      let model: BinaryModel
      do { model = try BinaryModel(path: self.model, instructionSet: InstructionSet.name) } catch {
        throw ModelUse.ending("\(self.model): \(error)")
      }
      if !json {
        print("kernels \(model.instructionSet)\ncase     threads  least ms  median ms  peak MB")
      }
      for (sequences, tokens, threads) in [(1, 16, 1), (1, 128, 1), (1, 512, 1), (16, 128, 2)]
      where tokens <= model.shape.maximumLength {
        show(sequences, tokens, threads, try time(model, sequences, tokens, threads))
      }
    }

    private func time(
      _ model: BinaryModel, _ sequences: Int, _ tokens: Int, _ threads: Int
    ) throws -> (least: Double, median: Double) {
      var random = CounterRandom(seed: 1, purpose: .heldOut).stream(UInt32(tokens))
      let batch = (0..<sequences).map { _ in
        (0..<tokens).map { _ in Int32(random.next(below: UInt32(model.shape.vocabularySize))) }
      }
      var (processor, wall) = ([Double](), [Double]())
      for _ in 0..<repeats {
        let (start, startWall) = (threadSeconds(), DispatchTime.now().uptimeNanoseconds)
        _ = try model.embed(batch, threads: threads)
        processor.append(threadSeconds() - start)
        wall.append(Double(DispatchTime.now().uptimeNanoseconds - startWall) * 1e-9)
      }
      let least = threads == 1 ? processor.min()! : wall.min()!
      return (least, wall.sorted()[repeats / 2])
    }

    private func show(
      _ sequences: Int, _ tokens: Int, _ threads: Int, _ times: (least: Double, median: Double)
    ) {
      let format =
        json
        ? #"{"case":"%dx%d","threads":%d,"least_ms":%.3f,"median_ms":%.3f,"peak_mb":%.1f}"#
        : "%3dx%-5d %6d %9.2f %10.2f %8.1f"
      print(
        String(
          format: format, sequences, tokens, threads, times.least * 1e3, times.median * 1e3,
          Double(peakResidentBytes()) * 1e-6))
    }
  }

  /// `bipft bench untrained-model`
  struct UntrainedModel: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "untrained-model",
      abstract: "Write a packed model of random weights to be timed (BERT-base unless told otherwise).")

    @Option(help: ArgumentHelp("The file to write.", valueName: "file")) var output: String
    @Option var hidden = 768
    @Option var layers = 12
    @Option var heads = 12
    @Option var intermediate = 3072
    @Option(help: "Rank of the residual estimators.") var rank = 1
    @Option(help: "model.activation_bits: 1, 2, 4 or 8.") var activationBits = 1
    @Option(help: "What goes with the encoder.") var head = PackedModelFormat.Head.none
    @Option(help: ArgumentHelp("Its vocabulary, by lines.", valueName: "file")) var vocab =
      "configs/vocab/vocab.txt"

    func validate() throws {
      guard [hidden, layers, heads, intermediate].allSatisfy({ $0 > 0 }), hidden % heads == 0, rank >= 0
      else { throw ValidationError("sizes are above 0, and --heads divides --hidden") }
      guard [1, 2, 4, 8].contains(activationBits) else {
        throw ValidationError("--activation-bits \(activationBits): use 1, 2, 4 or 8")
      }
    }

    func run() throws {
      do {
        let vocabulary = try Vocabulary(path: vocab)
        let sizes = try PackedModelWriter.writeUntrained(
          ModelConfiguration(
            vocabularySize: vocabulary.count, hiddenSize: hidden, layers: layers, heads: heads,
            intermediateSize: intermediate, maximumLength: 512, estimatorRank: rank, dropout: 0,
            activationBits: activationBits),
          head: head, reals: .int16, seed: 1, vocabulary: vocabulary.lines, to: output)
        print("\(output): \(sizes.file) bytes")
      } catch {
        throw ModelUse.ending("\(error)")
      }
    }
  }
}

/// The largest resident size of this process so far, in bytes.
func peakResidentBytes() -> Int {
  var usage = rusage()
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return usage.ru_maxrss * 1024
}
