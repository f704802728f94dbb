/*
 * x86_features.h: whether this processor has instructions, and whether the operating system keeps their registers when
 * it changes between processes. For compilers without __builtin_cpu_supports (that of clang-cl needs a library which
 * is not linked); tests/native/test_features.c compares the two where there are both.
 */
#ifndef EDGECOMP_X86_FEATURES_H
#define EDGECOMP_X86_FEATURES_H

#include <stdint.h>

#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif

#if defined(__clang__)
#define X86_XSAVE __attribute__((target("xsave")))
#else
#define X86_XSAVE
#endif

/* Sets of registers in XCR0 that the system keeps. */
#define X86_KEEPS_AVX 0x06u    /* 128 and 256 bits */
#define X86_KEEPS_AVX512 0xe6u /* these, masks, 512 bits, registers 16 to 31 */

struct x86_registers {
    uint32_t a, b, c, d;
};

/* What CPUID says of a leaf and its part (a sub-leaf); zeros where the processor has no such leaf. */
static inline struct x86_registers x86_cpuid(uint32_t leaf, uint32_t part)
{
    struct x86_registers r = {0, 0, 0, 0};
#if defined(_MSC_VER)
    int found[4];

    __cpuid(found, 0);
    if (leaf <= (uint32_t)found[0]) {
        __cpuidex(found, (int)leaf, (int)part);
        r.a = (uint32_t)found[0];
        r.b = (uint32_t)found[1];
        r.c = (uint32_t)found[2];
        r.d = (uint32_t)found[3];
    }
#else
    unsigned a, b, c, d;

    if (__get_cpuid_count(leaf, part, &a, &b, &c, &d)) {
        r.a = a;
        r.b = b;
        r.c = c;
        r.d = d;
    }
#endif
    return r;
}

/* The low half of XCR0; the processor must have XGETBV, and the system must allow it (OSXSAVE). */
static inline X86_XSAVE uint32_t x86_kept(void)
{
#if defined(_MSC_VER)
    return (uint32_t)_xgetbv(0);
#else
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
#endif
}

/* Whether the system keeps all of these registers. */
static inline int x86_keeps(uint32_t registers)
{
    const uint32_t osxsave = 1u << 27, avx = 1u << 28;
    const struct x86_registers one = x86_cpuid(1, 0);

    return (one.c & osxsave) != 0 && (one.c & avx) != 0 && (x86_kept() & registers) == registers;
}

static inline int x86_has_avx2(void)
{
    return (x86_cpuid(7, 0).b & 1u << 5) != 0 && x86_keeps(X86_KEEPS_AVX);
}

/* AVX-512 F, BW and VL. */
static inline int x86_has_avx512(void)
{
    const uint32_t wanted = 1u << 16 | 1u << 30 | 1u << 31;

    return (x86_cpuid(7, 0).b & wanted) == wanted && x86_keeps(X86_KEEPS_AVX512);
}

/* These, and dot products of bytes. */
static inline int x86_has_avx512_vnni(void)
{
    return x86_has_avx512() && (x86_cpuid(7, 0).c & 1u << 11) != 0;
}

/* The dot products alone, on 256 bits, of processors without AVX-512. Leaf 7 says how many parts it has. */
static inline int x86_has_avx_vnni(void)
{
    return x86_cpuid(7, 0).a >= 1 && (x86_cpuid(7, 1).a & 1u << 4) != 0 && x86_keeps(X86_KEEPS_AVX);
}

#endif
