import Foundation
import Testing

/// The arguments of `bipft-pretrain`, before any training.
@Suite struct PretrainArgumentsTests {
  private static let hint = " (bipft-pretrain --help explains the arguments)"

  @Test(arguments: [
    ([], "Missing expected argument '--config <file>'\(hint)"),
    (
      ["--config", "configs/demo.yaml", "--ranks", "3"],
      "--ranks needs --dry-run; mpirun -n sets the ranks of a run\(hint)"
    ),
    (["--config", "configs/demo.yaml", "--dry-run", "--ranks", "0"], "--ranks 0: use 1 or more\(hint)"),
    (
      ["--config", "configs/demo.yaml", "--resume", ""],
      "--resume is empty: use auto, none or the path of a checkpoint\(hint)"
    ),
    (
      ["--config", "none.yaml"],
      "none.yaml: No such file or directory; --config wants a YAML file such as configs/demo.yaml"
    ),
    (
      ["--config", "configs/demo.yaml", "--set", "training.step=3"],
      "--set training.step=3: unknown key; did you mean training.steps?"
    ),
    (
      ["--config", "configs/demo.yaml", "--dry-run", "--ranks", "9"],
      "9 ranks do not fit 8 lanes (training.global_batch 32 / training.micro_batch 4): use 1 to 8 ranks"
    ),
  ])
  func wrongArgumentsGetOneLine(_ arguments: [String], _ message: String) throws {
    let result = try Program.pretrain(arguments)
    #expect(result.code == 78)
    #expect(result.output == "")
    #expect(result.errors == "bipft-pretrain: \(message)\n")
  }

  @Test func onlyTheFirstRankSpeaks() throws {
    let wrong = try Program.pretrain(["--bad"], environment: ["OMPI_COMM_WORLD_RANK": "1"])
    #expect(wrong.code == 78 && wrong.output == "" && wrong.errors == "")
    let help = try Program.pretrain(["--help"], environment: ["OMPI_COMM_WORLD_RANK": "1"])
    #expect(help.code == 0 && help.output == "" && help.errors == "")
  }

  @Test func helpExplainsOptionsAndExitCodes() throws {
    let help = try Program.pretrain(["--help"])
    #expect(help.code == 0 && help.errors == "")
    for word in [
      "mpirun -n 8", "--config", "--run-dir", "--set", "--resume", "--dry-run", "  75  ", "  78  ",
    ] {
      #expect(help.output.contains(word))
    }
  }
}
