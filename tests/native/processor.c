/* processor.c: prints edgecomp_processor's answer, for tests/test_processor.py to run on other processors. */
#include "edgecomp_native.h"

#include <stdio.h>

int main(void)
{
    printf("%u\n", edgecomp_processor());
    return 0;
}
