#define _GNU_SOURCE
#include "mapped_files.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Entries live in blocks that are never moved or freed, so the handler can walk them at any moment. An entry counts
// while its `base` is not 0; `path` and `count` are written before it.
enum { entries_per_block = 256, block_limit = 4096 };

typedef struct {
  _Atomic uintptr_t base;
  size_t count;
  char *path;
} mapped_entry;

static mapped_entry *_Atomic blocks[block_limit];
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;
static char speaker_text[256];
static int exit_code;

static mapped_entry *entry_at(int place) {
  mapped_entry *block = atomic_load(&blocks[place / entries_per_block]);
  return block ? &block[place % entries_per_block] : NULL;
}

// The first free place, in a new block if need be; -1 without memory.
static int free_place(void) {
  for (int place = 0; place < entries_per_block * block_limit; place++) {
    if (place % entries_per_block == 0 && !entry_at(place)) {
      mapped_entry *block = calloc(entries_per_block, sizeof *block);
      if (!block) return -1;
      atomic_store(&blocks[place / entries_per_block], block);
    }
    if (atomic_load(&entry_at(place)->base) == 0) return place;
  }
  return -1;
}

int mapped_files_add(const void *base, size_t count, const char *path) {
  char *copy = strdup(path);
  if (!copy) return -1;
  pthread_mutex_lock(&changing);
  int place = free_place();
  if (place >= 0) {
    mapped_entry *entry = entry_at(place);
    free(entry->path);
    entry->path = copy;
    entry->count = count;
    atomic_store(&entry->base, (uintptr_t)base);
  } else {
    free(copy);
  }
  pthread_mutex_unlock(&changing);
  return place;
}

void mapped_files_remove(int place) {
  if (place < 0) return;
  pthread_mutex_lock(&changing);
  atomic_store(&entry_at(place)->base, 0);
  pthread_mutex_unlock(&changing);
}

// ---- in the handler: only what is safe in one ----

static void append(char *line, size_t capacity, const char *text) {
  size_t used = strlen(line);
  size_t length = strlen(text);
  if (length > capacity - used - 1) length = capacity - used - 1;
  memcpy(line + used, text, length);
  line[used + length] = 0;
}

static void append_number(char *line, size_t capacity, size_t number) {
  char digits[24] = "";
  char *digit = digits + sizeof digits - 1;
  do {
    *--digit = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  append(line, capacity, digit);
}

static void report(int signal, siginfo_t *information, void *context) {
  (void)context;
  uintptr_t address = (uintptr_t)information->si_addr;
  for (int place = 0; place < entries_per_block * block_limit; place++) {
    mapped_entry *entry = entry_at(place);
    if (!entry) break;
    uintptr_t base = atomic_load(&entry->base);
    if (base == 0 || address < base || address - base >= entry->count) continue;
    char line[4096] = "";
    append(line, sizeof line, speaker_text);
    append(line, sizeof line, ": ");
    append(line, sizeof line, entry->path);
    append(line, sizeof line, ": byte ");
    append_number(line, sizeof line, address - base);
    append(line, sizeof line, " cannot be read any more: the file was cut off, or its disk fails; restore it, then start again\n");
    ssize_t written = write(STDERR_FILENO, line, strlen(line));
    (void)written;
    _exit(exit_code);
  }
  // Not ours: end as if there were no handler.
  struct sigaction standard = {.sa_handler = SIG_DFL};
  sigaction(signal, &standard, NULL);
  raise(signal);
}

void mapped_files_report_faults(const char *speaker, int code) {
  strncpy(speaker_text, speaker, sizeof speaker_text - 1);
  exit_code = code;
  struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, NULL);
}
