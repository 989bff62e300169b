// Tests of Corpora.
