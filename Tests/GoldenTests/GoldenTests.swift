// Tests of Golden.
