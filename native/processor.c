/* processor.c: which vector instructions this processor has, and the system lets programs use. */
#include "edgecomp_native.h"

#if defined(__x86_64__) || defined(_M_X64)

#ifdef _MSC_VER
#include <intrin.h>

static void identify(uint32_t leaf, uint32_t part, uint32_t registers[4])
{
    int found[4];
    int i;

    __cpuidex(found, (int)leaf, (int)part);
    for (i = 0; i < 4; i++) {
        registers[i] = (uint32_t)found[i];
    }
}

static uint32_t enabled_registers(void)
{
    return (uint32_t)_xgetbv(0);
}
#else
#include <cpuid.h>

static void identify(uint32_t leaf, uint32_t part, uint32_t registers[4])
{
    __cpuid_count(leaf, part, registers[0], registers[1], registers[2], registers[3]);
}

static uint32_t enabled_registers(void)
{
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
#endif

static int has(uint32_t value, unsigned bit)
{
    return (int)(value >> bit & 1u);
}

/* Registers are EAX, EBX, ECX, EDX; the bits are those of Intel's and AMD's manuals for CPUID. */
unsigned edgecomp_processor(void)
{
    const uint32_t avx_registers = 0x06u, avx512_registers = 0xe6u;
    uint32_t r[4];
    uint32_t last, last_part, saved = 0;
    unsigned found = 0;

    identify(0, 0, r);
    last = r[0];
    identify(1, 0, r);
    if (has(r[2], 19)) {
        found |= EDGECOMP_PROCESSOR_SSE41;
    }
    if (has(r[2], 27)) {
        saved = enabled_registers();
    }
    if (last < 7 || (saved & avx_registers) != avx_registers) {
        return found;
    }
    identify(7, 0, r);
    last_part = r[0];
    if (has(r[1], 5)) {
        found |= EDGECOMP_PROCESSOR_AVX2;
    }
    if ((saved & avx512_registers) == avx512_registers && has(r[1], 16) && has(r[1], 30) && has(r[1], 31)) {
        found |= EDGECOMP_PROCESSOR_AVX512;
        if (has(r[2], 11)) {
            found |= EDGECOMP_PROCESSOR_DOT_PRODUCT;
        }
    }
    if (last_part >= 1) {
        identify(7, 1, r);
        if (has(r[0], 4)) { /* AVX-VNNI: the same for processors without AVX-512 */
            found |= EDGECOMP_PROCESSOR_DOT_PRODUCT;
        }
    }
    return found;
}

#elif defined(__aarch64__) || defined(_M_ARM64)

#if defined(__linux__)
#include <sys/auxv.h>

static unsigned optional_instructions(void)
{
    /* Bits of the kernel's interface: HWCAP_ASIMDDP and HWCAP2_I8MM, which older headers lack. */
    unsigned found = 0;

    if (getauxval(AT_HWCAP) >> 20 & 1u) {
        found |= EDGECOMP_PROCESSOR_DOT_PRODUCT;
    }
    if (getauxval(AT_HWCAP2) >> 13 & 1u) {
        found |= EDGECOMP_PROCESSOR_I8MM;
    }
    return found;
}
#elif defined(__APPLE__)
#include <sys/sysctl.h>

static int has(const char *name)
{
    int value = 0;
    size_t size = sizeof value;

    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value != 0;
}

static unsigned optional_instructions(void)
{
    return (has("hw.optional.arm.FEAT_DotProd") ? (unsigned)EDGECOMP_PROCESSOR_DOT_PRODUCT : 0u) |
           (has("hw.optional.arm.FEAT_I8MM") ? (unsigned)EDGECOMP_PROCESSOR_I8MM : 0u);
}
#elif defined(_WIN32)
#include <windows.h>

static unsigned optional_instructions(void)
{
    /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, which older headers lack. */
    return IsProcessorFeaturePresent(43) ? EDGECOMP_PROCESSOR_DOT_PRODUCT : 0u;
}
#else
static unsigned optional_instructions(void)
{
    return 0;
}
#endif

unsigned edgecomp_processor(void)
{
    return EDGECOMP_PROCESSOR_NEON | optional_instructions();
}

#else

unsigned edgecomp_processor(void)
{
    return 0;
}

#endif
