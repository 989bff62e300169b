// Two names change places.
#pragma once

// Lets two files or folders of one file system change names in one step; 0 or an errno, EINVAL or ENOSYS where the file system
// or the kernel cannot.
int file_exchange(const char *one, const char *other);
