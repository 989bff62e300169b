// The files that this process has mapped into memory, so that one which is cut off or becomes unreadable under it
// (SIGBUS) ends the process with a line that names it instead of a bare signal. Callable from any thread.
#pragma once
#include <stddef.h>

// Notes that `count` bytes at `base` are the file `path`; returns a place to hand to `mapped_files_remove`, or -1 if
// there is no memory for it (the file then goes unnamed).
int mapped_files_add(const void *base, size_t count, const char *path);

// Forgets the entry, before the memory is unmapped.
void mapped_files_remove(int place);

// From now on a fault in a mapped file prints "SPEAKER: PATH: …" on standard error and ends the process with `code`; any
// other SIGBUS ends it as before. `speaker` is copied.
void mapped_files_report_faults(const char *speaker, int code);
