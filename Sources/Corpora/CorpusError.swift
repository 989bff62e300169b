/// What can be wrong with text, vocabularies and corpora. Each description is one line: what, where, what to do.
public enum CorpusError: Error, Equatable, CustomStringConvertible, Sendable {
  // Files.
  case cannotRead(file: String, reason: String)
  case cannotWrite(file: String, reason: String)
  case interrupted

  // Text.
  case invalidUTF8(file: String, byte: Int)
  case invalidText(TextFault)
  case notPlainText(file: String, kind: ForeignFile)
  case wholeJSON(file: String)
  case emptyInput(file: String)
  case noDocuments(file: String)
  case noText(files: [String], documents: Int, leftOut: Int)
  case oneDocument(file: String)
  case missingSplit(CorpusSplit, documents: Int, heldOut: Double)

  // Vocabularies.
  case emptyVocabulary(file: String)
  case missingToken(file: String, token: String)
  case duplicateToken(file: String, token: String, line: Int, firstLine: Int)
  case tokenizerFile(file: String)
  case vocabularyTooLarge(file: String)

  // Options.
  case invalidOption(name: String, value: String, allowed: String)

  // Output folders.
  case outputOccupied(directory: String, entry: String)
  case corpusExists(directory: String)

  // Corpora.
  case notACorpus(directory: String)
  case malformedDescription(file: String, reason: String)
  case noShards(directory: String)
  case missingShards(directory: String, split: CorpusSplit, prefix: String)
  case unpairedShard(file: String, missing: String)
  case wrongSize(file: String, expected: Int, found: Int)
  case damagedIndex(file: String, reason: String)
  case unsupportedTokenType(file: String, code: Int)
  case emptySequence(file: String, sequence: Int)
  case multimodalIndex(file: String)
  case tokenOutOfRange(file: String, sequence: Int, token: Int, vocabulary: Int)
  case wrongDigest(file: String, expected: String, found: String)

  case changedWhileOpen(file: String)

  // Samples.
  case sequenceTooShort(Int)
  case tooManyPieces(file: String)
  case tooFewDocuments(directory: String, split: CorpusSplit, documents: Int)

  /// The exit code of a program that ends with this error: 78 where starting again cannot mend it, else 70; 130 after an interrupt.
  public var exitCode: Int32 {
    switch self {
    case .cannotWrite: 70
    case .interrupted: 130
    default: 78
    }
  }

  public var description: String {
    switch self {
    case .cannotRead(let file, let reason):
      "\(file): cannot be read (\(reason)); check the path and its permissions"
    case .cannotWrite(let file, let reason):
      "\(file): cannot be written (\(reason)); nothing was left behind, make room or choose another place and try again"
    case .interrupted:
      "interrupted; nothing was left behind"
    case .invalidUTF8(let file, let byte):
      "\(file): not UTF-8 at byte \(byte); convert the file to UTF-8 (iconv -t UTF-8) and try again"
    case .invalidText(let fault):
      "\(fault); mend it, or leave such documents out with --on-invalid skip, or mend them with --on-invalid replace"
    case .notPlainText(let file, let kind):
      "\(file): \(kind.remedy(file))"
    case .wholeJSON(let file):
      "\(file): is JSON, but not with an object in each line; make it so (jq -c '.[]' \(file) for an array, jq -c . \(file) "
        + "for objects of several lines), or take it as it stands with --format text"
    case .emptyInput(let file):
      "\(file): is empty; give a file with text"
    case .noDocuments(let file):
      "\(file): holds no document; text has one paragraph a line and a blank line between documents"
    case .noText(let files, let documents, let leftOut):
      "\(files.prefix(3).joined(separator: ", "))\(files.count > 3 ? " …" : ""): none of the \(documents) documents has any "
        + "text (\(leftOut) were left out as invalid); give text, in JSON lines as the field \"text\""
    case .oneDocument(let file):
      "\(file): all text is one document, but some documents must be held out for evaluation; put a blank line between documents"
    case .missingSplit(let split, let documents, let heldOut):
      "none of the \(documents) documents fell to the \(split.rawValue) split with --held-out \(heldOut); "
        + "give more documents, another --held-out or another --seed"
    case .emptyVocabulary(let file):
      "\(file): is empty; a vocabulary has one token a line"
    case .missingToken(let file, let token):
      "\(file): has no token \(token); a BERT vocabulary needs [PAD], [UNK], [CLS], [SEP] and [MASK]"
    case .duplicateToken(let file, let token, let line, let firstLine):
      "\(file), line \(line): the token \(token) stands in line \(firstLine) already; each token must stand once"
    case .tokenizerFile(let file):
      "\(file): is JSON, as tokenizer.json is, not a vocabulary of one token a line; write its tokens in the order of their ids "
        + "(jq -r '.model.vocab | to_entries | sort_by(.value)[].key' \(file) > vocab.txt) and give those"
    case .vocabularyTooLarge(let file):
      "\(file): its tokens have more than 16 million different beginnings; give a smaller vocabulary"
    case .invalidOption(let name, let value, let allowed):
      "\(name)\(value.isEmpty ? " is empty" : " \(value): not allowed"); give \(allowed)"
    case .outputOccupied(let directory, let entry):
      "\(directory): holds something else than a corpus (\(entry)); choose another output folder"
    case .corpusExists(let directory):
      "\(directory): holds a corpus already; choose another output folder, or replace it with --overwrite"
    case .notACorpus(let directory):
      "\(directory): has no corpus.json; build a corpus with `bipft corpus build` or adopt shards with `bipft corpus adopt`"
    case .malformedDescription(let file, let reason):
      "\(file): is not the description of a corpus (\(reason)); build or adopt the corpus again"
    case .noShards(let directory):
      "\(directory): has no pair of .bin and .idx files; name the folder that holds the Megatron-LM shards"
    case .missingShards(let directory, let split, let prefix):
      "\(directory): has no shard for the \(split.rawValue) split; shards named \(prefix)… are held out, all others are for training "
        + "(--held-out-prefix changes the beginning)"
    case .unpairedShard(let file, let missing):
      "\(file): has no \(missing) beside it; copy the missing file or remove this one"
    case .wrongSize(let file, let expected, let found):
      "\(file): has \(found) bytes instead of \(expected); it was truncated or changed, copy or build it again"
    case .damagedIndex(let file, let reason):
      "\(file): is not a sound Megatron-LM index (\(reason)); copy or build it again"
    case .unsupportedTokenType(let file, let code):
      "\(file): stores its tokens as type \(code); only 4 (int32) and 8 (uint16) can be read, tokenise it again"
    case .emptySequence(let file, let sequence):
      "\(file): sequence \(sequence) has no token; tokenise again without empty texts"
    case .multimodalIndex(let file):
      "\(file): is the index of a multimodal dataset (a mode for each sequence); only text can be read, tokenise it alone"
    case .tokenOutOfRange(let file, let sequence, let token, let vocabulary):
      "\(file): sequence \(sequence) holds token \(token), but the vocabulary has \(vocabulary) tokens; "
        + "use the vocabulary that it was tokenised with"
    case .wrongDigest(let file, let expected, let found):
      "\(file): has SHA-256 \(found) instead of \(expected); it was changed or damaged, copy or build it again"
    case .changedWhileOpen(let file):
      "\(file): was changed while it was in use; restore it, then start again"
    case .tooManyPieces(let file):
      "\(file): has 2³² pieces of text or more; cut the shard into several"
    case .sequenceTooShort(let length):
      "sequence length \(length): too short; [CLS] A [SEP] B [SEP] needs at least 5 tokens"
    case .tooFewDocuments(let directory, let split, let documents):
      "\(directory): its \(split.rawValue) split has \(documents) document\(documents == 1 ? "" : "s"), "
        + "but sentence pairs need at least two; build it with more text or another --held-out"
    }
  }
}
