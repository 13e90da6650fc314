// A library that needs another: libgone.so, which the test removes once this is linked.

int gone(void);
int needs(void) { return gone(); }
