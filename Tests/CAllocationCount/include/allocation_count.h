// Counts the allocations of a process, and what it keeps of them, for tests.
#ifndef ALLOCATION_COUNT_H
#define ALLOCATION_COUNT_H

// Whether allocations can be counted: with the GNU C library, unless AddressSanitizer watches over them.
int ac_is_possible(void);

// Starts to count, on all threads, from zero.
void ac_start(void);

// Stops, and returns how many blocks of memory were asked for since `ac_start`.
long ac_stop(void);

// Bytes of memory that the process has asked for and not given back, on all threads; 0 where allocations cannot be counted.
long ac_bytes_kept(void);

#endif
