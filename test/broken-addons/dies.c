// An addon that ends its process while it is being loaded, or never returns: DEEPLAB_TEST_DEATH says how.

#include <node_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static napi_value initialize(napi_env env, napi_value exports) {
  const char* death = getenv("DEEPLAB_TEST_DEATH");
  if (death == NULL) return exports;
  puts("a library that talks");
  fflush(stdout);
  if (strcmp(death, "segfault") == 0) *(volatile int*)NULL = 1;
  if (strcmp(death, "trap") == 0) __builtin_trap();
  if (strcmp(death, "abort") == 0) {
    for (int i = 0; i < 1000; i++) fprintf(stderr, "line %d\n", i);
    fprintf(stderr, "the tables do not match\n");
    abort();
  }
  if (strcmp(death, "exit") == 0) _exit(3);
  while (strcmp(death, "hang") == 0) pause();
  if (strcmp(death, "throw") == 0) napi_throw_error(env, NULL, "not in the mood");
  return exports;
}

NAPI_MODULE(dies, initialize)
