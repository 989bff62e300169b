import Glibc
import ModelCommands

/// The program that people call. It runs the commands that use a packed model itself; for every other one it becomes
/// `bipft-tools`, the program beside it, which has them all and loads MPI and OpenBLAS.
@main
struct Bipft {
  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if let command = arguments.first, ModelCommands.contain(command) {
      ModelCommands.main(arguments)
    } else {
      becomeTools()
    }
  }

  /// The same process with the same arguments, so that signals, exit codes and mpirun see no difference.
  private static func becomeTools() -> Never {
    let name = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Int(PATH_MAX)) { name in
      let count = readlink("/proc/self/exe", name.baseAddress!, name.count)
      return String(decoding: name[..<max(count, 0)], as: UTF8.self)
    }
    let tools = name + "-tools"
    execv(tools, CommandLine.unsafeArgv)
    var line =
      "bipft: \(tools): cannot be started (\(String(cString: strerror(errno)))); it belongs beside bipft\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(70)
  }
}
