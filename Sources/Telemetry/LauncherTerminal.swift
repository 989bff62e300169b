import Foundation

/// The terminal behind mpirun: a rank's standard error is a pipe, but what goes into it comes out at mpirun's own, which
/// often is a terminal.
enum LauncherTerminal {
  /// The device that the launcher's `descriptor` is open on, nil unless this process is a rank whose parent is the
  /// launcher, on a system with /proc, and that device is a terminal.
  static func path(of descriptor: Int32, environment: [String: String]) -> String? {
    guard environment["OMPI_COMM_WORLD_RANK"] != nil else { return nil }
    let link = "/proc/\(getppid())/fd/\(descriptor)"
    guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: link) else { return nil }
    return target.hasPrefix("/dev/pts/") || target.hasPrefix("/dev/tty") ? target : nil
  }
}
