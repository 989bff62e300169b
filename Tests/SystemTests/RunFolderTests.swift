import Coordinator
import Foundation
import Kernels
import Testing

/// Whole runs: names of run folders and checkpoints, folders that cannot serve, what a run goes back over, and its time.
@Suite(.serialized) struct RunFolderTests {
  private let tiny: TinyRun
  private var scratch: Scratch { tiny.scratch }
  init() throws { tiny = try TinyRun() }

  /// In `folder` of the scratch folder, where `arguments` may name run folders that are relative to it.
  private func pretrain(
    in folder: String = ".", _ arguments: [String], environment: [String: String] = [:]
  ) throws -> Program.Outcome {
    try Program.run(
      "/usr/bin/env",
      ["-C", scratch.path(folder), Program.folder.appendingPathComponent("bipft-pretrain").path] + arguments,
      environment: environment)
  }

  private var configuration: [String] { ["--config", scratch.path("tiny.yaml")] }

  /// The line with which a program ended, and nothing of a crash.
  private func expectRefusal(
    _ outcome: Program.Outcome, _ message: String, code: Int32 = 78,
    location: SourceLocation = #_sourceLocation
  ) {
    #expect(outcome.code == code, "\(outcome.errors)", sourceLocation: location)
    let line = outcome.errors.split(separator: "\n").last { $0.hasPrefix("bipft") } ?? ""
    #expect(line.contains(message), "\(outcome.errors)", sourceLocation: location)
  }

  @Test(arguments: ["r", "é", "r/", "./r", "a/b/", "."]) func runFoldersOfAnyName(name: String) throws {
    try FileManager.default.createDirectory(
      atPath: scratch.path("place"), withIntermediateDirectories: true)
    for _ in 1...2 {
      let outcome = try pretrain(
        in: "place", configuration + ["--run-dir", name, "--set", "training.steps=2"])
      #expect(outcome.code == 0, "\(outcome.errors)")
    }
    let pruned = try Program.run(
      "/usr/bin/env",
      [
        "-C", scratch.path("place"), Program.folder.appendingPathComponent("bipft").path, "checkpoint",
        "prune", name,
      ])
    #expect(pruned.code == 0 && pruned.output == "nothing to remove\n", "\(pruned)")
  }

  /// Starting again cannot mend them, so no launcher is to try.
  @Test func runFoldersThatCannotServe() throws {
    try scratch.write("file", "")
    try FileManager.default.createSymbolicLink(
      atPath: scratch.path("link"), withDestinationPath: scratch.path("nowhere"))
    for name in ["file", "file/run", "link", "/proc/run"] {
      expectRefusal(
        try pretrain(configuration + ["--run-dir", name]), "the run folder \(name) cannot be used: ")
    }
    expectRefusal(try pretrain(configuration + ["--run-dir", ""]), "--run-dir is empty")
    expectRefusal(
      try pretrain(configuration + ["--run-dir", "a", "--run-dir=b"]), "--run-dir is given 2 times (a, b)")
    let unlocked = try pretrain(
      configuration + ["--run-dir", "c"], environment: ["BIPFT_TEST_FAULTS": "refuse:lock:\(ENOLCK)"])
    expectRefusal(unlocked, "No locks available, since its file system lets no process hold a lock (Lustre: ")
  }

  /// `keep: 2` needs room for three: the next one is written before the oldest goes.
  @Test(.enabled("SKIPPED: a tmpfs cannot be mounted here") { Program.canMount })
  func roomForTheOneBeingWritten() throws {
    #expect(try Program.pretrain(tiny.arguments("size", ["--set", "training.steps=2"])).code == 0)
    let files = ["model", "optimizer"].map { "size/checkpoints/step-00000002/\($0).safetensors" }
    let bytes = try files.reduce(0) { try $0 + scratch.bytes($1).count }
    try FileManager.default.createDirectory(
      atPath: scratch.path("small"), withIntermediateDirectories: true)
    let mounted = try Program.run(
      "/bin/mount", ["-t", "tmpfs", "-o", "size=\(bytes * 11 / 4)", "tmpfs", scratch.path("small")])
    try #require(mounted.code == 0, "\(mounted.errors)")
    defer { _ = try? Program.run("/bin/umount", [scratch.path("small")]) }
    let refused = try Program.pretrain(tiny.arguments("small/run"))
    expectRefusal(refused, " for 3 checkpoints: No space left on device", code: 70)
    // A run that makes no more than two.
    let short = try Program.pretrain(tiny.arguments("small/run", ["--set", "training.steps=16"]))
    #expect(short.code == 0, "\(short.errors)")
  }

  @Test func whatPeopleMeanByACheckpoint() throws {
    let steps = ["--set", "training.steps=16"]
    #expect(try Program.pretrain(tiny.arguments("one", steps)).code == 0)
    let store = scratch.path("one/checkpoints")
    for (index, name) in [scratch.path("one"), store, store + "/latest"].enumerated() {
      let outcome = try Program.pretrain(tiny.arguments("other-\(index)", steps + ["--resume", name]))
      #expect(
        outcome.code == 0 && outcome.errors.contains("checkpoints/step-00000016"),
        "\(name): \(outcome.errors)")
    }
    for name in ["latest", "step-00000008"] {
      let outcome = try Program.pretrain(tiny.arguments("one", steps + ["--resume", name]))
      let step = name == "latest" ? "step-00000016" : name
      #expect(
        outcome.code == 0 && outcome.errors.contains("going on from \(store)/\(step): "), "\(outcome.errors)")
    }
    for name in ["lates", "step-00000009", store + "/step-00000008/state.json", scratch.path("corpus")] {
      expectRefusal(
        try Program.pretrain(tiny.arguments("new", ["--resume", name])), "\(name) is no checkpoint: ")
    }
    expectRefusal(
      try Program.pretrain(tiny.arguments("new", ["--resume", "latest"])), "has no checkpoint yet")
  }

  /// Metrics or checkpoints that are gone are told of, and the audit proves nothing about steps of which it has no record.
  @Test func whatIsLostIsTold() throws {
    let steps = ["--set", "training.steps=16"]
    #expect(try Program.pretrain(tiny.arguments("gone", steps)).code == 0)
    try scratch.write("gone/metrics.jsonl", "")
    let audit = try Program.bipft(["schedule", "--audit", scratch.path("gone")])
    #expect(
      audit.code == 78 && audit.output.contains("gap: steps 1 to 16 are missing in metrics.jsonl"),
      "\(audit)")
    let resumed = try Program.pretrain(tiny.arguments("gone", steps))
    #expect(
      resumed.code == 0
        && resumed.errors.contains("warning: metrics.jsonl was lost or cut: it has no steps 1 to 16"),
      "\(resumed.errors)")
    try FileManager.default.removeItem(atPath: scratch.path("gone/checkpoints"))
    let anew = try Program.pretrain(tiny.arguments("gone", steps))
    #expect(
      anew.code == 0
        && anew.errors.contains(
          "warning: the run had come to step 16 and has no checkpoint: it starts over from step 0"),
      "\(anew.errors)")
    // A run that goes on from another's last step has no steps of its own to miss.
    let other = scratch.path("gone")
    for arguments in [steps + ["--resume", other], steps] {
      let outcome = try Program.pretrain(tiny.arguments("heir", arguments))
      #expect(outcome.code == 0 && !outcome.errors.contains("warning: metrics"), "\(outcome.errors)")
    }
    #expect(try Program.bipft(["schedule", "--audit", scratch.path("heir")]).code == 0)
  }

  /// A checkpoint that cannot be read is not gone behind; one of which a file is gone is, and then never comes back.
  @Test func whatARunGoesBackOverNeverComesBack() throws {
    func run(_ faults: String) throws -> Program.Outcome {
      try Program.pretrain(
        tiny.arguments("back", ["--set", "checkpoint.every=4", "--set", "checkpoint.keep=5"]),
        environment: ["BIPFT_TEST_FAULTS": faults])
    }
    #expect(try run("stop:0:12").code == 75)
    let newest = scratch.path("back/checkpoints/step-00000012")
    for (code, exit) in [(EIO, Int32(70)), (EACCES, 78)] {
      let refused = try run("refuse:step-00000012/optimizer.safetensors:\(code)")
      expectRefusal(
        refused, "checkpoint \(newest) cannot be read now, which need not be damage: ", code: exit)
      #expect(!refused.errors.contains("going on from"), "\(refused.errors)")
    }
    #expect(try RunDirectory.identify(scratch.path("back"))?.step == 12)
    try FileManager.default.moveItem(atPath: newest + "/model.safetensors", toPath: scratch.path("hidden"))
    let second = try run("stop:0:10")
    #expect(second.code == 75 && second.errors.contains("skipped: checkpoint \(newest) is damaged"))
    #expect(
      second.errors.contains("checkpoints of later steps are set aside (.replaced): 12"), "\(second.errors)")
    try FileManager.default.moveItem(
      atPath: scratch.path("hidden"), toPath: newest + ".replaced-1/model.safetensors")
    let third = try run("")
    #expect(
      third.code == 0
        && third.errors.contains("going on from \(scratch.path("back"))/checkpoints/step-00000010: "))
    let audit = try Program.bipft(["schedule", "--audit", scratch.path("back")])
    #expect(audit.code == 0 && audit.output.contains("24 steps that count, 4 done again"), "\(audit.output)")
  }

  /// The same where all of the checkpoint was away, and comes back under its own name.
  @Test func aCourseThatWasLeftIsToldByTheHistory() throws {
    func run(_ faults: String) throws -> Program.Outcome {
      try Program.pretrain(
        tiny.arguments("left", ["--set", "checkpoint.every=4", "--set", "checkpoint.keep=5"]),
        environment: ["BIPFT_TEST_FAULTS": faults])
    }
    #expect(try run("stop:0:12").code == 75)
    let newest = scratch.path("left/checkpoints/step-00000012")
    try FileManager.default.moveItem(atPath: newest, toPath: scratch.path("away"))
    #expect(try run("stop:0:10").code == 75)
    try FileManager.default.moveItem(atPath: scratch.path("away"), toPath: newest)
    let third = try run("")
    #expect(
      third.code == 0 && third.errors.contains("skipped: \(newest) is of a course that the run has left"))
    let audit = try Program.bipft(["schedule", "--audit", scratch.path("left")])
    #expect(audit.code == 0 && audit.output.contains("24 steps that count, 4 done again"), "\(audit.output)")
  }

  @Test func aLostStateGoesOnFromTheCheckpoints() throws {
    let steps = ["--set", "checkpoint.every=4", "--set", "training.steps=12"]
    let stopped = try Program.pretrain(
      tiny.arguments("lost", steps), environment: ["BIPFT_TEST_FAULTS": "stop:0:8"])
    #expect(stopped.code == 75)
    try scratch.write("lost/state.json", "")
    let list = try Program.bipft(["checkpoint", "list", scratch.path("lost")])
    #expect(list.code == 0 && list.output.contains("run: failed at step 8: state.json was lost"), "\(list)")
    let outcome = try Program.pretrain(tiny.arguments("lost", steps))
    #expect(outcome.code == 0 && outcome.errors.contains("warning: state.json was lost"), "\(outcome.errors)")
    #expect(outcome.errors.contains("/step-00000008: "), "\(outcome.errors)")
    #expect(try Program.bipft(["schedule", "--audit", scratch.path("lost")]).code == 0)
  }

  /// Evaluations are counted into what `stop_after` keeps free: one of 2 s follows each step.
  @Test func stopAfterCountsEvaluations() throws {
    let start = Date()
    let outcome = try Program.pretrain(
      tiny.arguments("clock", ["--set", "stop_after=7", "--set", "evaluation.every=1"]),
      environment: ["BIPFT_TEST_FAULTS": "delay:evaluated:2"])
    let seconds = Date().timeIntervalSince(start)
    #expect(outcome.code == 75 && outcome.errors.contains("stop_after: saved step "), "\(outcome.errors)")
    #expect(seconds > 3.5 && seconds < 7.5, "\(seconds) s: \(outcome.errors)")
  }

  /// Old checkpoints are hashed for longer than `hang_timeout`, at the start and when others give way.
  @Test func hashingIsASignOfLife() throws {
    let steps = ["--set", "checkpoint.every=4", "--set", "checkpoint.keep=5", "--set", "hang_timeout=2"]
    #expect(
      try Program.pretrain(
        tiny.arguments("hash", steps), environment: ["BIPFT_TEST_FAULTS": "stop:0:16"]
      ).code == 75)
    // Each checkpoint has three pieces.
    let outcome = try Program.pretrain(
      tiny.arguments("hash", steps), environment: ["BIPFT_TEST_FAULTS": "delay:piece:0.8"])
    #expect(outcome.code == 0, "\(outcome.errors)")
  }

  /// A rank without a launcher whose reader goes away saves and ends in order.
  @Test func aReaderThatGoesAway() throws {
    let command =
      "{ \"$@\"; echo $? >'\(scratch.path("code"))'; } 2>&1 | sed '/starting/q'"
    let outcome = try Program.run(
      "/usr/bin/env",
      [
        "BIPFT_TEST_FAULTS=delay:evaluated:0.5", "bash", "-c", command, "bash",
        Program.folder.appendingPathComponent("bipft-pretrain").path,
      ] + tiny.arguments("pipe", ["--set", "training.steps=1000000"]))
    #expect(outcome.output.contains("starting"), "\(outcome)")
    #expect(try scratch.text("code") == "75\n")
    let state = try RunDirectory.identify(scratch.path("pipe"))
    #expect(state?.status == .preempted && state?.reason == "SIGPIPE", "\(String(describing: state))")
  }

  /// A run goes on with the kernels of another processor: told, kept in the history, and the same bits.
  @Test func otherKernelsAreTold() throws {
    func run(_ name: String, _ kernels: String, _ faults: String = "") throws -> Program.Outcome {
      try Program.pretrain(
        tiny.arguments(name, ["--set", "checkpoint.every=4", "--set", "training.steps=12"]),
        environment: ["BIPFT_KERNELS": kernels, "BIPFT_TEST_FAULTS": faults])
    }
    let sets = InstructionSet.available
    let (first, last) = (sets[0], sets[sets.count - 1])
    #expect(try !run("kernels", first, "stop:0:8").errors.contains("warning"))
    let other = try run("kernels", last)
    #expect(
      first == last
        || other.errors.contains(
          "warning: the run was computed with \(first) kernels so far, and goes on with \(last); these kernels give"
        ),
      "\(other.errors)")
    let starts = try RunHistory(run: scratch.path("kernels")).events().filter { $0.event == .start }
    #expect(starts.map { $0.arithmetic?.kernels } == [first, last])
    _ = try run("alone", first)
    #expect(try tiny.metrics("kernels") == tiny.metrics("alone"))
    #expect(try tiny.weights("kernels", step: 12) == tiny.weights("alone", step: 12))
  }

  @Test func aChangeOfAnUnknownFieldIsRefused() throws {
    for (field, near) in [
      ("training.stps", "training.steps"), ("vocab", "vocabulary"), ("corpsu", "corpus"),
      ("training", "training.steps"),
    ] {
      expectRefusal(
        try Program.pretrain(tiny.arguments("change", ["--allow-change", field])),
        "--allow-change \(field): no run has such a field; did you mean \(near)?")
    }
    expectRefusal(
      try Program.pretrain(tiny.arguments("change", ["--allow-change", "zzz"])),
      "use a key of the configuration")
  }

  /// `--run-dir` in both forms reaches the job script of SLURM (with a `scontrol` that does nothing).
  @Test(arguments: [["--run-dir", "special"], ["--run-dir=special"]])
  func theJobScriptTakesTheRunFolder(option: [String]) throws {
    try FileManager.default.createDirectory(atPath: scratch.path("bin"), withIntermediateDirectories: true)
    try scratch.write("bin/scontrol", "#!/bin/sh\n")
    chmod(scratch.path("bin/scontrol"), 0o755)
    let environment = [
      "PATH": scratch.path("bin") + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? ""),
      "SLURM_JOB_ID": "1", "SLURM_SUBMIT_DIR": scratch.folder, "SLURM_TASKS_PER_NODE": "1",
      "SLURM_JOB_NODELIST": "here",
      "BIPFT_PROGRAM": Program.folder.appendingPathComponent("bipft-pretrain").path,
      "BIPFT_MPIRUN_OPTIONS": "--bind-to none",
    ].merging(Program.mpiEnvironment) { $1 }
    let script = Program.package.appendingPathComponent("cluster/bipft.sbatch").path
    let outcome = try Program.run(
      "/usr/bin/env", ["bash", script, scratch.path("tiny.yaml"), "--set", "training.steps=2"] + option,
      environment: environment)
    #expect(outcome.code == 0 && outcome.output.contains("1 ranks, run special"), "\(outcome)")
    #expect(try RunDirectory.identify(scratch.path("special"))?.status == .finished)
    #expect(!FileManager.default.fileExists(atPath: scratch.path("runs")))
  }
}
