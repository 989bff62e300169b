// 16 columns of four rows of bits as bytes 0 or 1, the four of a column together: what compilers make shifts of vectors of.
INLINE void expand_block(const uint16_t half[4], uint8_t *target) {
  for (int column = 0; column < 16; column++)
    for (int r = 0; r < 4; r++) target[column * 4 + r] = (uint8_t)(half[r] >> column & 1);
}
