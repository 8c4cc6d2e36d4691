#include <stdio.h> // a \
 b
#define F(x, ...) \
  #x ## __VA_ARGS__ /* y */
#error don't
int main(void) { char c = '\''; puts("a\"b\
 c"); return 0x1'f' ; } /* end **/
