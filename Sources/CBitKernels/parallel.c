// A pool of threads for loops whose bodies write disjoint memory.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bit_kernels.h"

typedef void (*loop_body)(void *context, size_t index, size_t worker);

// Held by the thread whose loop runs, or that adds threads: others wait their turn.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static struct {
  // The loop: written by its owner before `generation` changes, read by workers after.
  size_t count;
  loop_body body;
  void *context;
  _Atomic size_t next;         // the first index that nobody has taken
  _Atomic uint64_t generation; // counts loops
  _Atomic size_t running;      // workers still at the present loop
  _Atomic size_t threads;      // the calling one included
  // For those who have waited in vain for a while and sleep.
  pthread_mutex_t lock;
  pthread_cond_t start, done;
  size_t sleepers;           // workers that wait for a loop
  _Atomic int owner_sleeps;
} pool = {.threads = 1,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .start = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

// Looks that a waiting thread takes before it sleeps: first some tens of microseconds of its own, longer than the pause between
// two loops, then about a millisecond in which it leaves the core to whoever wants it. To be woken costs some 50 microseconds,
// on a virtual machine more, at each loop whose threads do not end together.
enum { LOOKS = 4000, OWN_LOOKS = 2000 };

static void look_away(int look) {
  if (look >= OWN_LOOKS) {
    sched_yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Threads take the indices one by one, so that a thread that is held up holds up no others; which one does what does not matter
// to the result.
static void run_loop(size_t worker) {
  size_t count = pool.count, index;
  loop_body body = pool.body;
  void *context = pool.context;
  while ((index = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed)) < count)
    body(context, index, worker);
}

static void wait_for_loop(uint64_t seen) {
  for (int look = 0; look < LOOKS; look++) {
    if (atomic_load_explicit(&pool.generation, memory_order_acquire) != seen) return;
    look_away(look);
  }
  pthread_mutex_lock(&pool.lock);
  pool.sleepers++;
  while (atomic_load(&pool.generation) == seen) pthread_cond_wait(&pool.start, &pool.lock);
  pool.sleepers--;
  pthread_mutex_unlock(&pool.lock);
}

static void wait_for_workers(void) {
  for (int look = 0; look < LOOKS; look++) {
    if (atomic_load_explicit(&pool.running, memory_order_acquire) == 0) return;
    look_away(look);
  }
  pthread_mutex_lock(&pool.lock);
  atomic_store(&pool.owner_sleeps, 1);
  while (atomic_load(&pool.running) > 0) pthread_cond_wait(&pool.done, &pool.lock);
  atomic_store(&pool.owner_sleeps, 0);
  pthread_mutex_unlock(&pool.lock);
}

// What a new thread must know: its number, and the last loop that began before it.
typedef struct {
  size_t worker;
  uint64_t generation;
} birth;

static void *work(void *argument) {
  birth own = *(birth *)argument;
  free(argument);
  for (uint64_t seen = own.generation;; seen++) {
    wait_for_loop(seen);
    run_loop(own.worker);
    if (atomic_fetch_sub(&pool.running, 1) == 1 && atomic_load(&pool.owner_sleeps)) {
      pthread_mutex_lock(&pool.lock);
      pthread_cond_signal(&pool.done);
      pthread_mutex_unlock(&pool.lock);
    }
  }
  return NULL;
}

void bk_parallel_for(size_t count, loop_body body, void *context) {
  if (bk_threads() == 1 || count < 2) {
    for (size_t index = 0; index < count; index++) body(context, index, 0);
    return;
  }
  pthread_mutex_lock(&turn);
  pool.count = count;
  pool.body = body;
  pool.context = context;
  atomic_store(&pool.next, 0);
  atomic_store(&pool.running, bk_threads() - 1);
  pthread_mutex_lock(&pool.lock);
  atomic_fetch_add(&pool.generation, 1);
  if (pool.sleepers > 0) pthread_cond_broadcast(&pool.start);
  pthread_mutex_unlock(&pool.lock);
  run_loop(0);
  wait_for_workers();
  pthread_mutex_unlock(&turn);
}

size_t bk_start_threads(size_t threads) {
  pthread_mutex_lock(&turn);
  while (bk_threads() < threads) {
    pthread_t thread;
    birth *own = malloc(sizeof *own);
    if (own == NULL) break;
    *own = (birth){bk_threads(), atomic_load(&pool.generation)};
    if (pthread_create(&thread, NULL, work, own) != 0) {
      free(own);
      break;
    }
    pthread_detach(thread);
    atomic_fetch_add(&pool.threads, 1);
  }
  size_t started = bk_threads();
  pthread_mutex_unlock(&turn);
  return started;
}

size_t bk_threads(void) { return atomic_load_explicit(&pool.threads, memory_order_relaxed); }
