// The MPI bridge of bipft: every MPI handle stays behind it.
//
// All functions that return int return 0 for success, else the MPI error code, whose text `cmpi_error_text` gives.
// In a world of one they do what MPI would do with one rank, whether MPI was started or not. One thread at a time.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One message of an exchange: `count` bytes sent to `peer`, or received from it.
typedef struct {
  void *bytes;
  size_t count;
  int peer;
  bool outgoing;
} cmpi_message;

// Starts MPI if `launched` (a launcher of MPI started this process), else the process is a world of one and MPI is
// never touched. `local_size` is the number of ranks that share this host's memory. Once a process.
int cmpi_start(bool launched, int *rank, int *size, int *local_size);

// Ends MPI if it was started; every rank calls it.
int cmpi_finish(void);

int cmpi_barrier(void);

// Sends `count` bytes of `root` to all ranks, any count.
int cmpi_broadcast(void *bytes, size_t count, int root);

// Replaces `value` by the largest of all ranks' values.
int cmpi_maximum(int64_t *value);

// all[r] becomes the `own` of rank r, for all ranks.
int cmpi_gather_counts(int64_t own, int64_t *all);

// Completes bytes of which rank r has counts[r] from starts[r] on.
int cmpi_gather_bytes(void *all, const int *counts, const int *starts);

// The lowest rank on this host.
int64_t cmpi_first_of_host(void);

// Ranks of a host read each other's memory, from the one call to the other, each of which returns when all of them have called it.
// The host's rank number i tells `count` addresses, from addresses[i * count] on.
int cmpi_meet_on_host(void **addresses, int count);
int cmpi_part_on_host(void);

// Copies memory of this host's rank number `number`. Any thread.
int cmpi_read_peer(int number, const void *from, void *to, size_t bytes);

// Adds `count` unsigned integers of `width` 2 or 4 bytes of its memory to `sums`; they wrap. Any thread.
int cmpi_add_peer(int number, const void *from, size_t count, int width, void *sums);

// Adds such integers of the ranks of one place, and leaves each its part at the beginning of `all`: counts[r] of them for the one
// on host r, hosts in the order of their first ranks. `received` has room for that part of every host. A rank's place is its number
// within its host; there are as many places as the smallest host has ranks, and a rank without one does not call it.
int cmpi_reduce_scatter(void *all, void *received, const int *counts, int width);

// Replaces everyone's unsigned integers of `width` 2 or 4 bytes, `count` of them, by their sums, which wrap.
int cmpi_all_reduce(void *values, size_t count, int width);

// The same of `count` words.
int cmpi_sum_words(uint64_t *words, size_t count);

// Counters, one for each rank, all zero, in the memory of rank 0. Every rank calls it; the ones of before are gone.
int cmpi_open_counters(void);

// Adds 1 to the counter number `counter`; `before` becomes what it was. Any rank alone.
int cmpi_count(int counter, int64_t *before);

// Reads all counters. Any rank alone.
int cmpi_read_counters(int64_t *all);

// Sets all counters to zero; rank 0 alone.
int cmpi_clear_counters(void);

// Lets messages move on that ask for counters, while this rank works.
void cmpi_serve(void);

// Sends and receives all `messages` and returns when all are done. Messages between two ranks match in the order in
// which each lists them; any count. A message to oneself is a programmer's error.
int cmpi_exchange(const cmpi_message *messages, size_t count);

// Writes the text of an error code, zero-terminated, shortened to fit `capacity` (at least 1).
void cmpi_error_text(int code, char *text, size_t capacity);

// Ends all ranks; the launcher exits with `code`.
_Noreturn void cmpi_abort(int code);

// The number of processors that this process may run on.
int cmpi_processors(void);

// Writes the numbers of the first `capacity` of them, ascending, and returns how many these are.
int cmpi_processor_list(int *numbers, int capacity);
