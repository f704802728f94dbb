/*
 * context_choice.h: whether a symbol is worth its bits. Whole numbers only, so that every machine chooses alike.
 */
#ifndef EDGECOMP_CONTEXT_CHOICE_H
#define EDGECOMP_CONTEXT_CHOICE_H

#include "highest_bit.h"

/* How far log2_256 may be above log2_256_least: 256 (log2(1 + t) - t) is at most 22.04, and both are rounded down. */
#define CHOICE_SLACK 23

/* 256 log2(frequency), rounded down; the frequency is not 0. The bits after the point by squaring. */
static inline int32_t log2_256(uint32_t frequency)
{
    int32_t log = (int32_t)highest_bit(frequency), i;
    uint64_t mantissa = (uint64_t)frequency << (31 - log); /* 2^31 stands for one */

    for (i = 0; i < 8; i++) {
        const uint64_t square = mantissa * mantissa >> 31;
        const unsigned two = (unsigned)(square >> 32);

        mantissa = square >> two;
        log = 2 * log + (int32_t)two;
    }
    return log;
}

/* The same with a straight line between powers of two: at most CHOICE_SLACK less, and never more. */
static inline int32_t log2_256_least(uint32_t frequency)
{
    const int32_t log = (int32_t)highest_bit(frequency);

    return (int32_t)((uint64_t)frequency << (31 - log) >> 23) + 256 * (log - 1);
}

/*
 * Whether zero, of the frequency `zero`, saves more bits than its error is worth: 128 times the difference of log2_256
 * against threshold * loss, at most 2^32 times 2^8. The logarithms are found only where their bounds do not tell.
 */
static inline int choice_saves(uint32_t zero, uint32_t symbol, uint32_t threshold, int32_t loss)
{
    const int64_t limit = (int64_t)threshold * loss;
    const int64_t about = log2_256_least(zero) - log2_256_least(symbol);

    if (128 * (about - CHOICE_SLACK) > limit) {
        return 1;
    }
    if (128 * (about + CHOICE_SLACK) <= limit) {
        return 0;
    }
    return 128 * (int64_t)(log2_256(zero) - log2_256(symbol)) > limit;
}

#endif
