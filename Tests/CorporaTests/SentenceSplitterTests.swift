import Corpora
import Testing

@Suite struct SentenceSplitterTests {
  /// Paragraphs whose sentences are parted by `|`.
  @Test(arguments: [
    "One sentence without an end",
    "It rained. |We stayed in.",
    "Mr. Smith met Dr. Jones. |They talked.",
    "Mrs. Hudson and Prof. Moriarty left.",
    "J. S. Bach wrote it. |George W. Bush did not.",
    "My brother and I. |We went home.",
    "He lived in the U.S. for years. |Then he left.",
    "He lived in the U.S. Army barracks.",
    "He lived in the U.S. |The army took him.",
    "At 5 p.m. Monday it closed.",
    "It closed at 5 p.m. |He went home.",
    "Fruit, e.g. Apples, i.e. food, is good.",
    "Apple Inc. announced it. |Bags, boxes, etc. |The rest was lost.",
    "It cost 3.14 dollars. |Then 2.50 more.",
    "See No. 5 and Fig. 3 on p. 12. |No. |He would not.",
    "On Jan. 5 it snowed.",
    "\"Go away!\" he said. |\"Why?\" |She did not know.",
    "“Stop.” |He stopped. |(He had to.) |‘Well?’ |They went on.",
    "She said, “It is late.” |“Is it?” he asked.",
    "What?! |No way… |Really... |Yes.",
    "Visit example.com today. |It works.",
    "1. Heat the oven.",
    "Élan is good. |Être is a verb. é is a letter.",
    "The end of 1999. |2000 began.",
    "A . . . |Then",
    "Do you know? it asked.",
    // Without a capital letter.
    "it rained. |we stayed in! |why? |mr. smith knew, e.g. from j. s. bach.",
    "он пришёл. |она ушла.",
    "the shop of apple inc. sold it. |bags, boxes, etc. |the rest was lost.",
    // Other scripts: the marks end a sentence with and without white space.
    "今天下雨。|我们在家！|为什么？|“走开。”|他说。",
    "「行け！」|と言った。|終わり｡|３．１４です。",
    "यह पहला है। |यह दूसरा है।|अंत॥ |क्या १.५ है?",
    "هل هذا صحيح؟ |نعم. |یہ اردو ہے۔ |ختم۔",
    "ሰላም ነው። |ደህና ነህ፧ |አዎ።",
    "Առաջինը։ |Երկրորդը։",
    "ပထမ၊ ဒုတိယ။ |တတိယ။",
    "ទីមួយ។ |ទីពីរ៕",
    "ประโยคไทยไม่มีจุดจบ แต่มีช่องว่าง",
  ])
  func splits(_ marked: String) {
    let expected = marked.split(separator: "|").map { $0.trimmingSpaces }
    #expect(SentenceSplitter.sentences(in: marked.replacing("|", with: "")) == expected)
  }

  @Test func whiteSpaceIsNoSentence() {
    #expect(SentenceSplitter.sentences(in: "") == [])
    #expect(SentenceSplitter.sentences(in: " \t\r ") == [])
    #expect(SentenceSplitter.sentences(in: "  Yes.   No. \r") == ["Yes.", "No."])
    #expect(SentenceSplitter.sentences(in: "...") == ["..."])
    #expect(SentenceSplitter.sentences(in: "A. ") == ["A."])
  }
}

extension Substring {
  fileprivate var trimmingSpaces: String {
    var text = self
    while text.last == " " { text.removeLast() }
    while text.first == " " { text.removeFirst() }
    return String(text)
  }
}
