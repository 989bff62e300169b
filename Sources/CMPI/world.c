#define _GNU_SOURCE
#include "cmpi.h"

#include <errno.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// MPI counts are int: longer messages travel as pieces of this many bytes. A test makes them smaller, on all ranks alike,
// with BIPFT_TEST_PIECE_BYTES.
static size_t piece_bytes = (size_t)1 << 29;
static const int message_tag = 1;

static bool started = false;
static int world_rank = 0;
static int world_size = 1;
// More ranks on this host than processors that they may run on.
static bool crowded = false;
// The ranks of this host, and those of this rank's place on every host (none for a rank without a place).
static MPI_Comm host_ranks = MPI_COMM_NULL;
static MPI_Comm place_ranks = MPI_COMM_NULL;
// The processes of this host's ranks, in rank order, and this one's number among them.
static pid_t *host_processes = NULL;
static int host_size = 1;
static int host_number = 0;
static MPI_Op wrapping_sum = MPI_OP_NULL;
static int64_t first_of_host = 0;
static MPI_Win counters = MPI_WIN_NULL;
static int64_t *own_counters = NULL;

// Requests of one exchange, kept between calls.
static MPI_Request *requests = NULL;
static MPI_Status *statuses = NULL;
static size_t request_capacity = 0;

// ---- start and end ----

static void own_processors(cpu_set_t *set) {
  CPU_ZERO(set);
  if (sched_getaffinity(0, sizeof *set, set) != 0)
    for (long i = 0; i < sysconf(_SC_NPROCESSORS_ONLN) && i < CPU_SETSIZE; i++) CPU_SET(i, set);
}

int cmpi_processors(void) {
  cpu_set_t set;
  own_processors(&set);
  return CPU_COUNT(&set);
}

int cmpi_processor_list(int *numbers, int capacity) {
  cpu_set_t set;
  own_processors(&set);
  int count = 0;
  for (int i = 0; i < CPU_SETSIZE && count < capacity; i++)
    if (CPU_ISSET(i, &set)) numbers[count++] = i;
  return count;
}

// Where MPI itself waits (starting, ending), it must not keep other ranks from working. The user's setting wins.
static void yield_if_crowded(void) {
  const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (local && atoi(local) > cmpi_processors()) setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
}

// MPI_SUM of Open MPI 4.1 saturates 16-bit integers where the processor has AVX, so sums that wrap are made here.
static void add_wrapping(void *in, void *sums, int *count, MPI_Datatype *type) {
  if (*type == MPI_UINT16_T) {
    const uint16_t *restrict more = in;
    uint16_t *restrict sum = sums;
    for (int i = 0; i < *count; i++) sum[i] = (uint16_t)(sum[i] + more[i]);
  } else {
    const uint32_t *restrict more = in;
    uint32_t *restrict sum = sums;
    for (int i = 0; i < *count; i++) sum[i] += more[i];
  }
}

// Copies memory of the process `process`.
static int read_process(pid_t process, const void *from, void *to, size_t bytes) {
  while (bytes > 0) {
    struct iovec own = {to, bytes}, other = {(void *)from, bytes};
    ssize_t done = process_vm_readv(process, &own, 1, &other, 1, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return MPI_ERR_OTHER;
    to = (char *)to + done;
    from = (const char *)from + done;
    bytes -= (size_t)done;
  }
  return 0;
}

// Where a rank's sample of memory is, for others to try.
typedef struct {
  int64_t process, address, value;
} memory_sample;

// Whether all of `ranks` can read each other's memory: containers may forbid it, or number processes each in its own way.
static int read_each_other(MPI_Comm ranks, int *all_can) {
  static int64_t sample;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  sample = now.tv_nsec ^ (int64_t)now.tv_sec << 20 ^ (int64_t)getpid() << 40;
  int size;
  int code = MPI_Comm_size(ranks, &size);
  if (code) return code;
  memory_sample *samples = malloc((size_t)size * sizeof *samples);
  free(host_processes);
  host_processes = malloc((size_t)size * sizeof *host_processes);
  if (!samples || !host_processes) return MPI_ERR_NO_MEM;
  const memory_sample own = {getpid(), (int64_t)(intptr_t)&sample, sample};
  code = MPI_Allgather(&own, 3, MPI_INT64_T, samples, 3, MPI_INT64_T, ranks);
  *all_can = 1;
  for (int i = 0; i < size && !code; i++) {
    int64_t found = 0;
    host_processes[i] = (pid_t)samples[i].process;
    if (read_process(host_processes[i], (const void *)(intptr_t)samples[i].address, &found, sizeof found) ||
        found != samples[i].value)
      *all_can = 0;
  }
  free(samples);
  return code ? code : MPI_Allreduce(MPI_IN_PLACE, all_can, 1, MPI_INT, MPI_MIN, ranks);
}

// Finds the ranks of this host, in rank order; of those that cannot read each other's memory each counts as a host of its
// own. A test makes hosts of so many ranks out of one, with BIPFT_TEST_HOST_RANKS.
static int find_host(int *local_size) {
  const char *asked = getenv("BIPFT_TEST_HOST_RANKS");
  int ranks = asked ? atoi(asked) : 0;
  int code = ranks > 0 ? MPI_Comm_split(MPI_COMM_WORLD, world_rank / ranks, world_rank, &host_ranks)
                       : MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world_rank, MPI_INFO_NULL, &host_ranks);
  if (!code) code = MPI_Comm_size(host_ranks, local_size);
  cpu_set_t processors;
  own_processors(&processors);
  if (!code) code = MPI_Allreduce(MPI_IN_PLACE, &processors, (int)sizeof processors, MPI_BYTE, MPI_BOR, host_ranks);
  if (!code) crowded = *local_size > CPU_COUNT(&processors);
  int can = 0;
  if (!code) code = read_each_other(host_ranks, &can);
  if (code || can) return code;
  if ((code = MPI_Comm_free(&host_ranks))) return code;
  if ((code = MPI_Comm_split(MPI_COMM_WORLD, world_rank, 0, &host_ranks))) return code;
  host_processes[0] = getpid();
  return 0;
}

// Counts the ranks of this host, finds out whether they are more than the processors of all of them together, and which
// ranks of other hosts have the same place. There are as many places as the smallest host has ranks.
static int look_around_host(int *local_size) {
  int code = find_host(local_size);
  int places = 1;
  first_of_host = world_rank;
  if (!code) code = MPI_Comm_size(host_ranks, &host_size);
  if (!code) code = MPI_Comm_rank(host_ranks, &host_number);
  if (!code) code = MPI_Allreduce(MPI_IN_PLACE, &first_of_host, 1, MPI_INT64_T, MPI_MIN, host_ranks);
  if (!code) code = MPI_Allreduce(&host_size, &places, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  // Hosts come in the order of their first ranks, in every place.
  const int place = host_number < places ? host_number : MPI_UNDEFINED;
  if (!code) code = MPI_Comm_split(MPI_COMM_WORLD, place, (int)first_of_host, &place_ranks);
  return code;
}

int cmpi_start(bool launched, int *rank, int *size, int *local_size) {
  *local_size = 1;
  const char *asked = getenv("BIPFT_TEST_PIECE_BYTES");
  size_t bytes = asked ? strtoul(asked, NULL, 10) : 0;
  if (bytes > 0 && bytes < piece_bytes) piece_bytes = bytes;
  if (launched) {
    yield_if_crowded();
    // The watchdog's thread may end the job.
    int provided;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    if (code) return code;
    started = true;
    if ((code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN))) return code;
    if ((code = MPI_Comm_rank(MPI_COMM_WORLD, &world_rank))) return code;
    if ((code = MPI_Comm_size(MPI_COMM_WORLD, &world_size))) return code;
    if ((code = look_around_host(local_size))) return code;
    if ((code = MPI_Op_create(add_wrapping, true, &wrapping_sum))) return code;
  }
  *rank = world_rank;
  *size = world_size;
  return 0;
}

static int close_counters(void);

int cmpi_finish(void) {
  if (!started) return 0;
  started = false;
  free(requests);
  free(statuses);
  requests = NULL;
  statuses = NULL;
  request_capacity = 0;
  free(host_processes);
  host_processes = NULL;
  close_counters();
  if (wrapping_sum != MPI_OP_NULL) MPI_Op_free(&wrapping_sum);
  if (host_ranks != MPI_COMM_NULL) MPI_Comm_free(&host_ranks);
  if (place_ranks != MPI_COMM_NULL) MPI_Comm_free(&place_ranks);
  return MPI_Finalize();
}

void cmpi_error_text(int code, char *text, size_t capacity) {
  char full[MPI_MAX_ERROR_STRING + 1] = "";
  int length = 0;
  if (started && MPI_Error_string(code, full, &length) != MPI_SUCCESS) length = 0;
  if (length == 0) length = snprintf(full, sizeof full, "unknown MPI error");
  size_t kept = (size_t)length < capacity - 1 ? (size_t)length : capacity - 1;
  memcpy(text, full, kept);
  text[kept] = 0;
}

void cmpi_abort(int code) {
  if (started) MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

// ---- waiting ----

// Waits for all requests. Among more ranks than processors it sleeps between looks, which leaves the
// processors to whoever has work and lets this thread run soon once its data is there (one that only yields does
// neither). A pause is about an eighth of the time waited so far, so short waits end promptly and long ones cost nothing.
static int wait_all(int count, MPI_Request *pending, MPI_Status *outcomes) {
  int code;
  if (crowded) {
    const int busy_looks = 20;
    const long longest_pause = 1000000;
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 10000};
    int done = 0;
    for (int looks = 0; !(code = MPI_Testall(count, pending, &done, outcomes)) && !done; looks++) {
      if (looks < busy_looks) {
        sched_yield();
      } else {
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < longest_pause) pause.tv_nsec += pause.tv_nsec / 8;
      }
    }
  } else {
    code = MPI_Waitall(count, pending, outcomes);
  }
  if (code != MPI_ERR_IN_STATUS) return code;
  for (int i = 0; i < count; i++) {
    int own = outcomes[i].MPI_ERROR;
    if (own != MPI_SUCCESS && own != MPI_ERR_PENDING) return own;
  }
  return code;
}

static int wait_one(MPI_Request *request) {
  MPI_Status status;
  return wait_all(1, request, &status);
}

// ---- operations of all ranks ----

int cmpi_barrier(void) {
  if (world_size == 1) return 0;
  MPI_Request request;
  int code = MPI_Ibarrier(MPI_COMM_WORLD, &request);
  return code ? code : wait_one(&request);
}

int cmpi_maximum(int64_t *value) {
  if (world_size == 1) return 0;
  MPI_Request request;
  int code = MPI_Iallreduce(MPI_IN_PLACE, value, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD, &request);
  return code ? code : wait_one(&request);
}

int cmpi_gather_counts(int64_t own, int64_t *all) {
  all[world_rank] = own;
  if (world_size == 1) return 0;
  MPI_Request request;
  int code = MPI_Iallgather(MPI_IN_PLACE, 1, MPI_INT64_T, all, 1, MPI_INT64_T, MPI_COMM_WORLD, &request);
  return code ? code : wait_one(&request);
}

int cmpi_gather_bytes(void *all, const int *counts, const int *starts) {
  if (world_size == 1) return 0;
  MPI_Request request;
  int code = MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_BYTE, all, counts, starts, MPI_BYTE, MPI_COMM_WORLD, &request);
  return code ? code : wait_one(&request);
}

int64_t cmpi_first_of_host(void) { return first_of_host; }

// ---- ranks of one host ----

int cmpi_meet_on_host(void **addresses, int count) {
  if (host_size == 1) return 0;
  const int bytes = count * (int)sizeof *addresses;
  MPI_Request request;
  int code = MPI_Iallgather(MPI_IN_PLACE, bytes, MPI_BYTE, addresses, bytes, MPI_BYTE, host_ranks, &request);
  return code ? code : wait_one(&request);
}

int cmpi_part_on_host(void) {
  if (host_size == 1) return 0;
  MPI_Request request;
  int code = MPI_Ibarrier(host_ranks, &request);
  return code ? code : wait_one(&request);
}

int cmpi_read_peer(int number, const void *from, void *to, size_t bytes) {
  return read_process(host_processes[number], from, to, bytes);
}

int cmpi_add_peer(int number, const void *from, size_t count, int width, void *sums) {
  static _Thread_local uint32_t block[1 << 14];
  const size_t most = sizeof block / (size_t)width;
  MPI_Datatype type = width == 2 ? MPI_UINT16_T : MPI_UINT32_T;
  for (size_t first = 0; first < count; first += most) {
    int length = (int)(count - first < most ? count - first : most);
    const size_t start = first * (size_t)width;
    int code = read_process(host_processes[number], (const char *)from + start, block, (size_t)length * (size_t)width);
    if (code) return code;
    add_wrapping(block, (char *)sums + start, &length, &type);
  }
  return 0;
}

// ---- sums of integers ----

int cmpi_reduce_scatter(void *all, void *received, const int *counts, int width) {
  MPI_Comm comm = place_ranks;
  int rank, size;
  int code = MPI_Comm_rank(comm, &rank);
  if (!code) code = MPI_Comm_size(comm, &size);
  if (code || size == 1) return code;
  int *lists = malloc(3 * (size_t)size * sizeof *lists);
  if (!lists) return MPI_ERR_NO_MEM;
  int *starts = lists, *own = lists + size, *places = lists + 2 * size;
  for (int i = 0, start = 0; i < size; start += counts[i++]) {
    starts[i] = start;
    own[i] = counts[rank];
    places[i] = i * counts[rank];
  }
  MPI_Request request;
  MPI_Datatype type = width == 2 ? MPI_UINT16_T : MPI_UINT32_T;
  code = MPI_Ialltoallv(all, counts, starts, type, received, own, places, type, comm, &request);
  if (!code) code = wait_one(&request);
  free(lists);
  if (code) return code;
  int count = counts[rank];
  const size_t bytes = (size_t)count * (size_t)width;
  memcpy(all, received, bytes);
  for (int i = 1; i < size; i++) add_wrapping((char *)received + (size_t)i * bytes, all, &count, &type);
  return 0;
}

int cmpi_all_reduce(void *values, size_t count, int width) {
  if (world_size == 1) return 0;
  MPI_Datatype type = width == 2 ? MPI_UINT16_T : MPI_UINT32_T;
  return MPI_Allreduce(MPI_IN_PLACE, values, (int)count, type, wrapping_sum, MPI_COMM_WORLD);
}

int cmpi_sum_words(uint64_t *words, size_t count) {
  if (world_size == 1) return 0;
  MPI_Request request;
  int code = MPI_Iallreduce(MPI_IN_PLACE, words, (int)count, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD, &request);
  return code ? code : wait_one(&request);
}

static size_t piece_length(size_t remaining) { return remaining < piece_bytes ? remaining : piece_bytes; }

static size_t piece_count(size_t bytes) { return bytes / piece_bytes + (bytes % piece_bytes != 0); }

int cmpi_broadcast(void *bytes, size_t count, int root) {
  if (world_size == 1) return 0;
  for (size_t done = 0; done < count;) {
    size_t length = piece_length(count - done);
    MPI_Request request;
    int code = MPI_Ibcast((char *)bytes + done, (int)length, MPI_BYTE, root, MPI_COMM_WORLD, &request);
    if (!code) code = wait_one(&request);
    if (code) return code;
    done += length;
  }
  return 0;
}

// ---- counters ----

static int close_counters(void) {
  if (counters == MPI_WIN_NULL) return 0;
  int code = MPI_Win_unlock_all(counters);
  return code ? code : MPI_Win_free(&counters);
}

int cmpi_open_counters(void) {
  int code = close_counters();
  MPI_Aint bytes = world_rank == 0 ? (MPI_Aint)sizeof(int64_t) * world_size : 0;
  if (!code) code = MPI_Win_allocate(bytes, sizeof(int64_t), MPI_INFO_NULL, MPI_COMM_WORLD, &own_counters, &counters);
  // An error is told as any other, and not by MPI itself.
  if (!code) code = MPI_Win_set_errhandler(counters, MPI_ERRORS_RETURN);
  if (!code && world_rank == 0) memset(own_counters, 0, (size_t)bytes);
  if (!code) code = MPI_Win_lock_all(MPI_MODE_NOCHECK, counters);
  if (!code) code = MPI_Win_sync(counters);
  return code ? code : MPI_Barrier(MPI_COMM_WORLD);
}

int cmpi_count(int counter, int64_t *before) {
  const int64_t one = 1;
  int code = MPI_Fetch_and_op(&one, before, MPI_INT64_T, 0, counter, MPI_SUM, counters);
  return code ? code : MPI_Win_flush(0, counters);
}

int cmpi_read_counters(int64_t *all) {
  int code = MPI_Get_accumulate(NULL, 0, MPI_INT64_T, all, world_size, MPI_INT64_T, 0, 0, world_size, MPI_INT64_T,
                                MPI_NO_OP, counters);
  return code ? code : MPI_Win_flush(0, counters);
}

int cmpi_clear_counters(void) {
  const int64_t zero = 0;
  for (int counter = 0; counter < world_size; counter++) {
    int code = MPI_Accumulate(&zero, 1, MPI_INT64_T, 0, counter, 1, MPI_INT64_T, MPI_REPLACE, counters);
    if (code) return code;
  }
  return MPI_Win_flush(0, counters);
}

void cmpi_serve(void) {
  int found;
  MPI_Iprobe(MPI_ANY_SOURCE, message_tag, MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE);
}

// ---- messages ----

static int reserve_requests(size_t needed) {
  if (needed <= request_capacity) return 0;
  MPI_Request *more_requests = realloc(requests, needed * sizeof *requests);
  if (!more_requests) return MPI_ERR_NO_MEM;
  requests = more_requests;
  MPI_Status *more_statuses = realloc(statuses, needed * sizeof *statuses);
  if (!more_statuses) return MPI_ERR_NO_MEM;
  statuses = more_statuses;
  request_capacity = needed;
  return 0;
}

// Starts one message, piece by piece; pieces match in order, since MPI keeps the order between two ranks.
static int start_message(const cmpi_message *message, int *posted) {
  for (size_t done = 0; done < message->count;) {
    int length = (int)piece_length(message->count - done);
    char *bytes = (char *)message->bytes + done;
    int code =
        message->outgoing
            ? MPI_Isend(bytes, length, MPI_BYTE, message->peer, message_tag, MPI_COMM_WORLD, &requests[*posted])
            : MPI_Irecv(bytes, length, MPI_BYTE, message->peer, message_tag, MPI_COMM_WORLD, &requests[*posted]);
    if (code) return code;
    *posted += 1;
    done += (size_t)length;
  }
  return 0;
}

int cmpi_exchange(const cmpi_message *messages, size_t count) {
  if (world_size == 1) return 0;
  size_t needed = 0;
  for (size_t i = 0; i < count; i++) needed += piece_count(messages[i].count);
  int code = reserve_requests(needed);
  if (code) return code;
  // Receives first, so that fewer messages arrive before anyone expects them.
  int posted = 0;
  for (int outgoing = 0; outgoing < 2; outgoing++)
    for (size_t i = 0; i < count; i++)
      if (messages[i].outgoing == (outgoing == 1) && (code = start_message(&messages[i], &posted))) return code;
  return wait_all(posted, requests, statuses);
}
