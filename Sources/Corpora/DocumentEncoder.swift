import Foundation

/// A document's sentences as tokens.
struct EncodedDocument: Sendable {
  var lengths: [Int32] = []
  var tokens: [Int32] = []
}

/// Turns documents into tokenised sentences, on all cores; the result does not depend on their number.
struct DocumentEncoder: Sendable {
  let tokenizer: WordPieceTokenizer

  /// Encodes documents, in their order.
  ///
  /// - Throws: the error of the first document that has one.
  func encode(_ documents: [RawDocument]) throws(CorpusError) -> [EncodedDocument] {
    var results = [Result<EncodedDocument, CorpusError>](
      repeating: .success(EncodedDocument()), count: documents.count)
    results.withUnsafeMutableBufferPointer { buffer in
      nonisolated(unsafe) let slots = buffer
      DispatchQueue.concurrentPerform(iterations: documents.count) { index in
        slots[index] = Result { () throws(CorpusError) in try encode(documents[index]) }
      }
    }
    var encoded: [EncodedDocument] = []
    encoded.reserveCapacity(results.count)
    for result in results { encoded.append(try result.get()) }
    return encoded
  }

  /// Encodes one document: paragraphs (lines), sentences, tokens. Sentences without any token are left out.
  func encode(_ document: RawDocument) throws(CorpusError) -> EncodedDocument {
    let text = try document.text()
    var encoded = EncodedDocument()
    encoded.tokens.reserveCapacity(text.count / 4)
    text.withUnsafeBufferPointer { bytes in
      for paragraph in bytes.split(separator: UInt8(ascii: "\n")) {
        let paragraph = UnsafeBufferPointer(rebasing: paragraph)
        for sentence in SentenceSplitter.sentences(in: paragraph) {
          let before = encoded.tokens.count
          tokenizer.encode(UnsafeBufferPointer(rebasing: paragraph[sentence]), into: &encoded.tokens)
          let length = encoded.tokens.count - before
          if length > 0 { encoded.lengths.append(Int32(length)) }
        }
      }
    }
    return encoded
  }
}
