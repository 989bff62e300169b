import CMappedFiles

/// Faults in files that are mapped into memory.
public enum MappedFileFaults {
  /// From now on a mapped file that is cut off under this process ends it with one line, which begins with `speaker` and
  /// names the file, and with exit code `code`. Without it the process dies from a bare SIGBUS.
  public static func report(speaker: String, code: Int32) { mapped_files_report_faults(speaker, code) }
}
