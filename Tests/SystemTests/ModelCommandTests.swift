import Foundation
import Testing

/// `bipft` runs the commands that use a packed model itself, and becomes `bipft-tools` for the others.
@Suite struct ModelCommandTests {
  @Test func whatIsMissingBesideItIsNamed() throws {
    let scratch = try Scratch()
    let alone = scratch.path("bipft")
    try FileManager.default.copyItem(
      atPath: Program.folder.appendingPathComponent("bipft").path, toPath: alone)
    let corpus = try Program.run(alone, ["corpus", "--help"])
    #expect(corpus.code == 70, "\(corpus)")
    #expect(
      corpus.errors == "bipft: \(alone)-tools: cannot be started (No such file or directory); "
        + "it belongs beside bipft\n")
    // What needs no training needs no other program.
    let inspected = try Program.run(alone, ["inspect", scratch.path("nothing.bipft")])
    #expect(inspected.code == 78 && inspected.errors.contains("nothing.bipft"), "\(inspected)")
  }

  @Test func bothProgramsTellTheSame() throws {
    for command in ["fill-mask", "classify", "embed", "inspect"] {
      let tools = Program.folder.appendingPathComponent("bipft-tools").path
      #expect(
        try Program.bipft([command, "--help"]).output == Program.run(tools, [command, "--help"]).output)
    }
    let help = try Program.bipft(["--help"]).output
    for command in ["corpus", "finetune", "export", "evaluate", "fill-mask", "embed", "bench"] {
      #expect(help.contains("  \(command) "), "\(help)")
    }
  }
}
