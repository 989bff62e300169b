/// What of a sequence a classifier reads: one vector made of its hidden states.
public enum SequencePooling: String, CaseIterable, Sendable {
  /// BERT's pooled output, made of the first token's last hidden state (Devlin et al. 2019).
  case first
  /// The mean of the last hidden states of all tokens, [CLS] and [SEP] included, as sentence encoders have it (Reimers and
  /// Gurevych 2019).
  case mean
}
