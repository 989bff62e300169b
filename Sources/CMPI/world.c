#define _GNU_SOURCE
#include "cmpi.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sched.h>
#endif
#include <unistd.h>

// MPI counts are int: longer messages travel as pieces of this many bytes.
static const size_t piece_bytes = (size_t)1 << 29;
static const int message_tag = 1;

static bool started = false;
static int world_rank = 0;
static int world_size = 1;

// Requests of one exchange, kept between calls.
static MPI_Request *requests = NULL;
static MPI_Status *statuses = NULL;
static size_t request_capacity = 0;

int cmpi_processors(void) {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

// With more ranks than processors a rank that waits must not keep others from working. The user's setting wins.
static void yield_if_crowded(void) {
  const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (local && atoi(local) > cmpi_processors()) setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
}

int cmpi_start(bool launched, int *rank, int *size, int *local_size) {
  int local = 1;
  if (launched) {
    yield_if_crowded();
    int provided;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    if (code) return code;
    started = true;
    if ((code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN))) return code;
    if ((code = MPI_Comm_rank(MPI_COMM_WORLD, &world_rank))) return code;
    if ((code = MPI_Comm_size(MPI_COMM_WORLD, &world_size))) return code;
    MPI_Comm host;
    if ((code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world_rank, MPI_INFO_NULL, &host)))
      return code;
    if ((code = MPI_Comm_size(host, &local))) return code;
    if ((code = MPI_Comm_free(&host))) return code;
  }
  *rank = world_rank;
  *size = world_size;
  *local_size = local;
  return 0;
}

int cmpi_finish(void) {
  if (!started) return 0;
  started = false;
  free(requests);
  free(statuses);
  requests = NULL;
  statuses = NULL;
  request_capacity = 0;
  return MPI_Finalize();
}

int cmpi_barrier(void) { return world_size == 1 ? 0 : MPI_Barrier(MPI_COMM_WORLD); }

static size_t piece_length(size_t remaining) { return remaining < piece_bytes ? remaining : piece_bytes; }

static size_t piece_count(size_t bytes) { return bytes / piece_bytes + (bytes % piece_bytes != 0); }

int cmpi_broadcast(void *bytes, size_t count, int root) {
  if (world_size == 1) return 0;
  for (size_t done = 0; done < count;) {
    size_t length = piece_length(count - done);
    int code = MPI_Bcast((char *)bytes + done, (int)length, MPI_BYTE, root, MPI_COMM_WORLD);
    if (code) return code;
    done += length;
  }
  return 0;
}

int cmpi_maximum(int64_t *value) {
  return world_size == 1 ? 0 : MPI_Allreduce(MPI_IN_PLACE, value, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
}

int cmpi_gather_counts(int64_t own, int64_t *all) {
  if (world_size > 1) return MPI_Allgather(&own, 1, MPI_INT64_T, all, 1, MPI_INT64_T, MPI_COMM_WORLD);
  all[0] = own;
  return 0;
}

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

// Starts one message, piece by piece; pieces of the same length order on both sides match in order.
static int start_message(const cmpi_message *message, size_t *started_requests) {
  for (size_t done = 0; done < message->count;) {
    size_t length = piece_length(message->count - done);
    char *bytes = (char *)message->bytes + done;
    MPI_Request *request = &requests[*started_requests];
    int code = message->outgoing
                   ? MPI_Isend(bytes, (int)length, MPI_BYTE, message->peer, message_tag, MPI_COMM_WORLD, request)
                   : MPI_Irecv(bytes, (int)length, MPI_BYTE, message->peer, message_tag, MPI_COMM_WORLD, request);
    if (code) return code;
    *started_requests += 1;
    done += length;
  }
  return 0;
}

int cmpi_exchange(const cmpi_message *messages, size_t count) {
  if (world_size == 1) return 0;
  size_t needed = 0;
  for (size_t i = 0; i < count; i++) needed += piece_count(messages[i].count);
  int code = reserve_requests(needed);
  if (code) return code;
  // Receives first, so that no message arrives unexpected where it can be avoided.
  size_t posted = 0;
  for (int outgoing = 0; outgoing < 2; outgoing++)
    for (size_t i = 0; i < count; i++)
      if (messages[i].outgoing == (outgoing == 1) && (code = start_message(&messages[i], &posted))) return code;
  code = MPI_Waitall((int)posted, requests, statuses);
  if (code != MPI_ERR_IN_STATUS) return code;
  for (size_t i = 0; i < posted; i++) {
    int own = statuses[i].MPI_ERROR;
    if (own != MPI_SUCCESS && own != MPI_ERR_PENDING) return own;
  }
  return code;
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
