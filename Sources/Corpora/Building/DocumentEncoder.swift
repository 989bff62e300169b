import Foundation

/// A document's sentences as tokens.
struct EncodedDocument: Sendable {
  var lengths: [Int32] = []
  var tokens: [Int32] = []
  /// How many of the tokens are [UNK].
  var unknown = 0
  /// What was wrong with its text, and whether it was left out for that.
  var fault: TextFault?
  var isLeftOut = false
}

/// Turns documents into tokenised sentences, on all cores; the result does not depend on their number.
struct DocumentEncoder: Sendable {
  let tokenizer: WordPieceTokenizer
  let invalid: InvalidText

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
  ///
  /// - Throws: `invalidText` where `invalid` is `fail`.
  func encode(_ document: RawDocument) throws(CorpusError) -> EncodedDocument {
    let checked = try document.text(invalid: invalid)
    var encoded = EncodedDocument()
    encoded.fault = checked.fault
    guard let text = checked.bytes else {
      encoded.isLeftOut = true
      return encoded
    }
    encoded.tokens.reserveCapacity(text.count / 4)
    text.withUnsafeBufferPointer { bytes in
      for paragraph in bytes.split(separator: UInt8(ascii: "\n")) {
        let paragraph = UnsafeBufferPointer(rebasing: paragraph)
        for sentence in SentenceSplitter.sentences(in: paragraph) {
          let before = encoded.tokens.count
          tokenizer.encode(UnsafeBufferPointer(rebasing: paragraph[sentence]), into: &encoded.tokens)
          // An index counts the tokens of a sequence in 31 bits.
          var rest = encoded.tokens.count - before
          while rest > 0 {
            let length = Int32(clamping: rest)
            encoded.lengths.append(length)
            rest -= Int(length)
          }
        }
      }
    }
    encoded.unknown = encoded.tokens.count { $0 == tokenizer.vocabulary.unknown }
    return encoded
  }
}
