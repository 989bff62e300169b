import DurableFiles
import Testing

@Suite struct PathNameTests {
  /// As POSIX's dirname and basename have it.
  @Test(arguments: [
    ("r", ".", "r"), ("é", ".", "é"), ("e\u{301}", ".", "e\u{301}"), ("r/", ".", "r"), ("r//", ".", "r"),
    (".", ".", "."), ("..", ".", ".."), ("/", "/", "/"), ("//", "/", "/"), ("", ".", "."), ("/r", "/", "r"),
    ("//r", "/", "r"), ("a/b", "a", "b"), ("a/b/", "a", "b"), ("a//b", "a", "b"), ("/a/b", "/a", "b"),
    ("./r", ".", "r"), ("../r", "..", "r"), ("a/.", "a", "."), ("日本/語", "日本", "語"),
    // A combining mark after the slash: one character to Swift, two names to the system.
    ("a/\u{301}b", "a", "\u{301}b"), ("a/\u{301}", "a", "\u{301}"), ("\u{301}/", ".", "\u{301}"),
  ])
  func parentAndLastName(_ path: String, _ parent: String, _ last: String) {
    #expect(Array(parentFolder(of: path).utf8) == Array(parent.utf8))
    #expect(Array(lastName(of: path).utf8) == Array(last.utf8))
  }

  @Test(arguments: [
    ("r", ["r"]), ("r/", ["r"]), (".", ["."]), ("/", []), ("", []), ("/a", ["/a"]), ("a/b/", ["a", "a/b"]),
    ("//a//b", ["//a", "//a//b"]), ("a/../b", ["a", "a/..", "a/../b"]),
    ("a/\u{301}b", ["a", "a/\u{301}b"]),
  ])
  func foldersOnTheWay(_ path: String, _ all: [String]) {
    #expect(folders(on: path).map { Array($0.utf8) } == all.map { Array($0.utf8) })
  }

  @Test func joining() {
    #expect(joinPath("a", "b") == "a/b")
    #expect(joinPath("a/", "b") == "a/b")
    #expect(joinPath("/", "b") == "/b")
    #expect(joinPath(".", "b") == "./b")
  }
}
