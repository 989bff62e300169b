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
