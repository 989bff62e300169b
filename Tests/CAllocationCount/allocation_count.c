#include "allocation_count.h"

#include <stdatomic.h>
#include <stddef.h>

static atomic_int counts;
static atomic_long allocations;

void ac_start(void) {
  atomic_store(&allocations, 0);
  atomic_store(&counts, 1);
}

long ac_stop(void) {
  atomic_store(&counts, 0);
  return atomic_load(&allocations);
}

// Not beside AddressSanitizer, which takes malloc's place itself.
#if defined(__SANITIZE_ADDRESS__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

#if defined(__GLIBC__) && !defined(HAS_SANITIZER)

// A program's own malloc takes the place of the C library's for all of the process; these count and pass the call on.

#include <errno.h>
#include <malloc.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void note(void) {
  if (atomic_load_explicit(&counts, memory_order_relaxed)) atomic_fetch_add(&allocations, 1);
}

int ac_is_possible(void) { return 1; }

long ac_bytes_kept(void) {
  struct mallinfo2 heap = mallinfo2();
  return (long)(heap.uordblks + heap.hblkhd);
}

void *malloc(size_t size) {
  note();
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  note();
  return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
  note();
  return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
  note();
  *block = __libc_memalign(alignment, size);
  return *block == NULL ? ENOMEM : 0;
}

#else

int ac_is_possible(void) { return 0; }

long ac_bytes_kept(void) { return 0; }

#endif
