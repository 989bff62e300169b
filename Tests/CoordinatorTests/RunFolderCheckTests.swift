import Collectives
import Coordinator
import Foundation
import Testing

@Suite struct RunFolderCheckTests {
  @Test func roomIsReservedAndGivenBack() throws {
    let folder = try TemporaryFolder()
    let check = RunFolderCheck(folder.path)
    #expect(try check.shortage(checkpoints: 2, bytes: 1 << 20) == nil)
    // More than any disk has.
    let shortage = try check.shortage(checkpoints: 2, bytes: 1 << 60)
    let text = "\(folder.path): no room of 2305843009214 MB for 2 checkpoints: "
    #expect(shortage?.description.hasPrefix(text) == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
  }

  @Test func aFolderThatCannotBeWrittenIsNamed() {
    #expect {
      try RunFolderCheck("/proc/nowhere").shortage(checkpoints: 1, bytes: 1)
    } throws: {
      "\($0)".hasPrefix("cannot create /proc/nowhere/")
    }
  }
}
