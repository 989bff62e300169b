// The one file of this module that knows of a file system.
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

#if canImport(Glibc) || canImport(Musl) || canImport(Darwin)
  extension BinaryModel {
    /// A model from its file, which is mapped: the weights are read where they lie when they are needed, and processes that
    /// use one file share its pages. The file must not be changed in place; `bipft export` replaces it by rename.
    ///
    /// - Parameter instructionSet: the kernels to use (`instructionSets`); nil takes the fastest.
    /// - Throws: `cannotRead`, and as `init(bytes:)`.
    public init(path: String, instructionSet: String? = nil) throws(BinaryModelError) {
      func fault() -> BinaryModelError { .cannotRead(reason: String(cString: strerror(errno))) }
      let descriptor = open(path, O_RDONLY | O_CLOEXEC)
      if descriptor < 0 { throw fault() }
      defer { close(descriptor) }
      var status = stat()
      if fstat(descriptor, &status) != 0 { throw fault() }
      guard status.st_mode & S_IFMT == S_IFREG else { throw .cannotRead(reason: "not a regular file") }
      let count = Int(status.st_size)
      if count == 0 { throw .header(.tooShort(size: 0)) }
      guard let pages = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0), pages != MAP_FAILED else {
        throw fault()
      }
      let memory = ModelMemory(UnsafeRawBufferPointer(start: pages, count: count)) { bytes in
        munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress!), bytes.count)
      }
      try self.init(memory, instructionSet: instructionSet)
    }
  }
#endif
