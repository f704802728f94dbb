/* processor.c: which vector instructions this processor has, and the system lets programs use. */
#include "edgecomp_native.h"

#if defined(__x86_64__) || (defined(_M_X64) && !defined(_M_ARM64EC))

#include "x86_features.h"

unsigned edgecomp_processor(void)
{
    unsigned found = 0;

    if ((x86_cpuid(1, 0).c & 1u << 19) != 0) {
        found |= EDGECOMP_PROCESSOR_SSE41;
    }
    if (x86_has_avx2()) {
        found |= EDGECOMP_PROCESSOR_AVX2;
    }
    if (x86_has_avx512()) {
        found |= EDGECOMP_PROCESSOR_AVX512;
    }
    if (x86_has_avx512_vnni() || x86_has_avx_vnni()) {
        found |= EDGECOMP_PROCESSOR_DOT_PRODUCT;
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
