/* check.h: what the C tests and fuzzing targets share: checks, exact allocations, random numbers by seed. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

static inline uint32_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static inline unsigned random_from(uint64_t *state, unsigned limit)
{
    return random_bits(state) % limit;
}

/* An allocation of exactly this size, so that the sanitizer sees the first byte beside it; NULL for size 0. */
static inline void *exactly(size_t size)
{
    void *memory = size == 0 ? NULL : malloc(size);

    CHECK(size == 0 || memory != NULL);
    return memory;
}

#endif
