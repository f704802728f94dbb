/* check.h: what the C tests and fuzzing targets share: checks, exact allocations, random numbers by seed, hashes. */
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

/* FNV-1a, 64 bits. */
static inline uint64_t hash(const uint8_t *bytes, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u;
    size_t i;

    for (i = 0; i < size; i++) {
        h = (h ^ bytes[i]) * 0x100000001b3u;
    }
    return h;
}

#endif
