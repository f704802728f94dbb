/* highest_bit.h: the place of the highest bit of a number, in one instruction where the compiler has it. */
#ifndef EDGECOMP_HIGHEST_BIT_H
#define EDGECOMP_HIGHEST_BIT_H

#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__) && (defined(_M_X64) || defined(_M_ARM64))
#include <intrin.h>
#endif

/* 0 .. 63; the number is not 0. */
static inline unsigned highest_bit(uint64_t value)
{
#if defined(__GNUC__) || defined(__clang__)
    return 63u - (unsigned)__builtin_clzll(value);
#elif defined(_MSC_VER) && (defined(_M_X64) || defined(_M_ARM64))
    unsigned long bit;

    _BitScanReverse64(&bit, value);
    return (unsigned)bit;
#else
    unsigned bit = 0, step;

    for (step = 32; step != 0; step /= 2) {
        if (value >> step != 0) {
            value >>= step;
            bit += step;
        }
    }
    return bit;
#endif
}

#endif
