/* test_features.c: what x86_features.h finds is what the compiler's own library finds, and highest_bit is right. */
#include "check.h"
#include "highest_bit.h"

#ifdef __x86_64__
#include "x86_features.h"

static void test_features(void)
{
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");

    CHECK(x86_has_avx2() == (__builtin_cpu_supports("avx2") != 0));
    CHECK(x86_has_avx512_vnni() == avx512);
    /* Of no use without the system: what it keeps of 512 bits it keeps of 256. */
    CHECK(!x86_keeps(X86_KEEPS_AVX512) || x86_keeps(X86_KEEPS_AVX));
    /* A leaf that no processor has. */
    CHECK(x86_cpuid(0x7fffffff, 0).a == 0 && x86_cpuid(0x7fffffff, 0).b == 0);
}
#else
static void test_features(void)
{
}
#endif

static void test_highest_bit(void)
{
    unsigned bit;

    for (bit = 0; bit < 64; bit++) {
        CHECK(highest_bit((uint64_t)1 << bit) == bit);
        CHECK(highest_bit(UINT64_MAX >> (63 - bit)) == bit);
    }
}

int main(void)
{
    test_features();
    test_highest_bit();
    puts("test_features: all tests passed");
    return 0;
}
