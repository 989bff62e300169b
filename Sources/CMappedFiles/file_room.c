#define _GNU_SOURCE
#include "file_room.h"

#include <errno.h>
#include <fcntl.h>

int file_room_reserve(int descriptor, int64_t bytes) {
#ifdef __linux__
  return fallocate(descriptor, 0, 0, bytes) == 0 ? 0 : errno;
#else
  (void)descriptor;
  (void)bytes;
  return EOPNOTSUPP;
#endif
}

void file_room_begin_writing(int descriptor, int64_t offset, int64_t bytes) {
#ifdef __linux__
  (void)sync_file_range(descriptor, offset, bytes, SYNC_FILE_RANGE_WRITE);
#else
  (void)descriptor;
  (void)offset;
  (void)bytes;
#endif
}
