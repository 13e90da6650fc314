// A library that gives up as soon as it is opened.

#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void give_up(void) {
  fprintf(stderr, "no kernel image is available\n");
  abort();
}
