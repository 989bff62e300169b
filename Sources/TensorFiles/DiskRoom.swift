import CMappedFiles
import Foundation

/// Reserves the first `bytes` bytes of an open file, quotas counted, without writing them. Where the file system cannot
/// reserve, asks it what is free.
///
/// - Returns: 0, or the errno of the refusal.
public func reserveRoom(_ bytes: Int, descriptor: Int32) -> Int32 {
  let code = file_room_reserve(descriptor, Int64(bytes))
  guard code == EOPNOTSUPP || code == ENOSYS else { return code }
  var status = statvfs()
  guard fstatvfs(descriptor, &status) == 0 else { return errno }
  return Int(status.f_bavail) * Int(status.f_frsize) < bytes ? ENOSPC : 0
}
