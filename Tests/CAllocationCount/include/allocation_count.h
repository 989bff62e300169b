// Counts the allocations of a process, for tests.
#ifndef ALLOCATION_COUNT_H
#define ALLOCATION_COUNT_H

// Whether allocations can be counted: with the GNU C library, unless AddressSanitizer watches over them.
int ac_is_possible(void);

// Starts to count, on all threads, from zero.
void ac_start(void);

// Stops, and returns how many blocks of memory were asked for since `ac_start`.
long ac_stop(void);

#endif
