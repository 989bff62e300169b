// A pool of threads for loops whose bodies write disjoint memory.
#include <pthread.h>
#include <stdlib.h>

#include "bit_kernels.h"

typedef void (*loop_body)(void *context, size_t index, size_t worker);

// Held by the thread whose loop runs, or that adds threads: others wait their turn.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t start, done;
  size_t threads;      // the calling one included
  size_t running;      // workers still at the present loop
  uint64_t generation; // counts loops
  size_t count;
  loop_body body;
  void *context;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .start = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER,
          .threads = 1};

// Worker w of n takes the indices [w count / n, (w + 1) count / n).
static void run_share(size_t worker, size_t threads, size_t count, loop_body body, void *context) {
  size_t last = (worker + 1) * count / threads;
  for (size_t i = worker * count / threads; i < last; i++) body(context, i, worker);
}

// What a new thread must know: its number, and the last loop that began before it.
typedef struct {
  size_t worker;
  uint64_t generation;
} birth;

static void *work(void *argument) {
  birth own = *(birth *)argument;
  free(argument);
  size_t worker = own.worker;
  uint64_t seen = own.generation;
  pthread_mutex_lock(&pool.lock);
  for (;;) {
    while (pool.generation == seen) pthread_cond_wait(&pool.start, &pool.lock);
    seen = pool.generation;
    size_t threads = pool.threads, count = pool.count;
    loop_body body = pool.body;
    void *context = pool.context;
    pthread_mutex_unlock(&pool.lock);
    run_share(worker, threads, count, body, context);
    pthread_mutex_lock(&pool.lock);
    if (--pool.running == 0) pthread_cond_signal(&pool.done);
  }
  return NULL;
}

void bk_parallel_for(size_t count, loop_body body, void *context) {
  if (bk_threads() == 1 || count < 2) {
    run_share(0, 1, count, body, context);
    return;
  }
  pthread_mutex_lock(&turn);
  pthread_mutex_lock(&pool.lock);
  size_t threads = pool.threads;
  pool.count = count;
  pool.body = body;
  pool.context = context;
  pool.running = threads - 1;
  pool.generation++;
  pthread_cond_broadcast(&pool.start);
  pthread_mutex_unlock(&pool.lock);
  run_share(0, threads, count, body, context);
  pthread_mutex_lock(&pool.lock);
  while (pool.running > 0) pthread_cond_wait(&pool.done, &pool.lock);
  pthread_mutex_unlock(&pool.lock);
  pthread_mutex_unlock(&turn);
}

size_t bk_start_threads(size_t threads) {
  pthread_mutex_lock(&turn);
  pthread_mutex_lock(&pool.lock);
  while (pool.threads < threads) {
    pthread_t thread;
    birth *own = malloc(sizeof *own);
    if (own == NULL) break;
    *own = (birth){pool.threads, pool.generation};
    if (pthread_create(&thread, NULL, work, own) != 0) {
      free(own);
      break;
    }
    pthread_detach(thread);
    pool.threads++;
  }
  size_t started = pool.threads;
  pthread_mutex_unlock(&pool.lock);
  pthread_mutex_unlock(&turn);
  return started;
}

size_t bk_threads(void) {
  pthread_mutex_lock(&pool.lock);
  size_t threads = pool.threads;
  pthread_mutex_unlock(&pool.lock);
  return threads;
}
