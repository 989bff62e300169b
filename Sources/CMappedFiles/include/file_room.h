// Room on a disk.
#pragma once
#include <stdint.h>

// Gives the open file `descriptor` the blocks of its first `bytes` bytes, quotas counted, without writing them; 0 or an errno,
// EOPNOTSUPP where the file system cannot. (posix_fallocate would then write every block.)
int file_room_reserve(int descriptor, int64_t bytes);

// Asks the system to begin now to bring these bytes, already written, to the disk, so that a later fsync waits less. Advice
// only: errors show at the fsync.
void file_room_begin_writing(int descriptor, int64_t offset, int64_t bytes);
