// Room on a disk.
#pragma once
#include <stdint.h>

// Gives the open file `descriptor` the blocks of its first `bytes` bytes, quotas counted, without writing them; 0 or an errno,
// EOPNOTSUPP where the file system cannot. (posix_fallocate would then write every block.)
int file_room_reserve(int descriptor, int64_t bytes);
