/* context_avx2.c: the kernels with AVX2, for compilers that can build them beside code for older processors. */
#include "context_internal.h"

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Two 16-bit factors as every pair of a vector. */
static inline AVX2 __m256i pair(int32_t first, int32_t second)
{
    return _mm256_set1_epi32((int32_t)(((uint32_t)second << 16) | ((uint32_t)first & 0xffffu)));
}

static inline AVX2 __m256i load16(const int16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline AVX2 __m256i load32(const int32_t *p)
{
    return _mm256_load_si256((const __m256i *)(const void *)p);
}

static inline AVX2 void store32(int32_t *p, __m256i v)
{
    _mm256_store_si256((__m256i *)(void *)p, v);
}

static inline AVX2 __m256i dot(__m256i sums, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}

/*
 * The outputs j to j + 16 n stay in registers while all entries pass, two by two: their rows are interleaved, so that
 * one multiply-add makes feature_0 * row_0[j] + feature_1 * row_1[j]. Unpacking works within halves of 128 bits, which
 * leaves outputs 0-3, 8-11 in one register and 4-7, 12-15 in the other until the end. n is a constant where this is
 * inlined, at most 4: more do not fit into sixteen registers.
 */
static inline AVX2 __attribute__((always_inline)) void add_columns(int32_t *sums, size_t width, const int16_t *rows,
                                                                   const struct context_entry *entries, size_t count,
                                                                   const size_t n)
{
    __m256i low[4], high[4];
    size_t i, k;

    for (k = 0; k < n; k++) {
        low[k] = high[k] = _mm256_setzero_si256();
    }
    for (i = 0; i < count; i += 2) {
        const struct context_entry *e = entries + i, *f = i + 1 < count ? e + 1 : e;
        const __m256i factors = pair(e->feature, i + 1 < count ? f->feature : 0);
        const int16_t *p = rows + e->row * width, *q = rows + f->row * width;

        for (k = 0; k < n; k++) {
            const __m256i a = load16(p + 16 * k), b = load16(q + 16 * k);

            low[k] = dot(low[k], factors, _mm256_unpacklo_epi16(a, b));
            high[k] = dot(high[k], factors, _mm256_unpackhi_epi16(a, b));
        }
    }
    for (k = 0; k < n; k++) {
        int32_t *to = sums + 16 * k;

        store32(to, _mm256_add_epi32(load32(to), _mm256_permute2x128_si256(low[k], high[k], 0x20)));
        store32(to + 8, _mm256_add_epi32(load32(to + 8), _mm256_permute2x128_si256(low[k], high[k], 0x31)));
    }
}

static AVX2 void add_rows(int32_t *sums, size_t width, const int16_t *rows, const struct context_entry *entries,
                          size_t count)
{
    size_t j = 0;

    if (count == 0) {
        return;
    }
    for (; j + 2 * CONTEXT_BLOCK <= width; j += 2 * CONTEXT_BLOCK) {
        add_columns(sums + j, width, rows + j, entries, count, 4);
    }
    if (j < width) {
        add_columns(sums + j, width, rows + j, entries, count, 2);
    }
}

/* Sixteen outputs at a time; a pair of activations is one 32-bit load. */
static AVX2 void multiply(int32_t *sums, size_t outputs, const int16_t *activations, size_t inputs,
                          const int16_t *weights, const int32_t *bias)
{
    size_t j, k;

    for (j = 0; j < outputs; j += 16) {
        __m256i even0 = load32(bias + j), even1 = load32(bias + j + 8);
        __m256i odd0 = _mm256_setzero_si256(), odd1 = odd0;

        for (k = 0; k < inputs; k += 4) { /* two chains, because a sum waits for the one before */
            const int16_t *a = activations + k, *w = weights + k * outputs + 2 * j;
            const __m256i first = pair(a[0], a[1]), second = pair(a[2], a[3]);

            even0 = dot(even0, first, load16(w));
            even1 = dot(even1, first, load16(w + 16));
            odd0 = dot(odd0, second, load16(w + 2 * outputs));
            odd1 = dot(odd1, second, load16(w + 2 * outputs + 16));
        }
        store32(sums + j, _mm256_add_epi32(even0, odd0));
        store32(sums + j + 8, _mm256_add_epi32(even1, odd1));
    }
}

static AVX2 void activate(int16_t *activations, const int32_t *sums, size_t width, unsigned shift)
{
    const __m256i zero = _mm256_setzero_si256(), most = _mm256_set1_epi32(CONTEXT_ACTIVATION);
    const __m128i count = _mm_cvtsi32_si128((int)shift);
    size_t j;

    for (j = 0; j < width; j += 16) {
        __m256i a = _mm256_max_epi32(load32(sums + j), zero), b = _mm256_max_epi32(load32(sums + j + 8), zero);

        a = _mm256_min_epi32(_mm256_srl_epi32(a, count), most);
        b = _mm256_min_epi32(_mm256_srl_epi32(b, count), most);
        a = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        _mm256_store_si256((__m256i *)(void *)(activations + j), a);
    }
}

static const struct context_kernels avx2 = {add_rows, multiply, activate};

const struct context_kernels *edgecomp_context_kernels_avx2(void)
{
    return __builtin_cpu_supports("avx2") ? &avx2 : NULL;
}

#else

const struct context_kernels *edgecomp_context_kernels_avx2(void)
{
    return NULL;
}

#endif
