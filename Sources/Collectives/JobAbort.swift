import CMPI
import Foundation

extension World {
  /// Ends all ranks at once with `code`, from any thread of any rank, whatever its other threads are doing: for a
  /// watchdog. Says nothing.
  public static func endJob(code: Int32) -> Never {
    // Should MPI be stuck itself, the signal ends this process, and with it the job.
    alarm(10)
    cmpi_abort(code)
  }
}
