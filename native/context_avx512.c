/* context_avx512.c: the kernels with AVX-512 and its sums of products of 16 bits (VNNI), for compilers that can build
 * them beside code for older processors. */
#include "context_internal.h"

#ifdef CONTEXT_X86

#include <immintrin.h>
#ifdef _MSC_VER
#include "x86_features.h"
#endif

#define AVX512 CONTEXT_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")
#define INLINED CONTEXT_INLINED AVX512

INLINED __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

INLINED void store(void *p, __m512i v)
{
    _mm512_storeu_si512(p, v);
}

INLINED __m256i load256(const void *p)
{
    return _mm256_loadu_si256(p);
}

INLINED void store256(void *p, __m256i v)
{
    _mm256_storeu_si256(p, v);
}

/* The features of two terms as every pair of 16-bit factors of a vector. Not loaded at once: terms may have been
 * written one by one just before, and then a load of both waits until they are in the cache. */
INLINED __m512i pair(const struct context_term *terms)
{
    return _mm512_set1_epi32((int32_t)((uint32_t)terms[1].feature << 16 | (uint16_t)terms[0].feature));
}

/*
 * The outputs 0 to 32 n - 1 stay in registers while all terms pass, two by two: their rows are interleaved, so that
 * one instruction adds feature_0 * row_0[j] + feature_1 * row_1[j]. Unpacking works within quarters of 128 bits: low[k]
 * has the outputs 0-3, 8-11, 16-19, 24-27 of its 32, high[k] the others, until the end.
 */
INLINED void add_columns(int32_t *sums, const int32_t *start, size_t width, const int16_t *rows,
                         const struct context_term *terms, size_t count, unsigned origin, const size_t n)
{
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    __m512i low[4], high[4];
    size_t i, k;

    for (k = 0; k < n; k++) {
        low[k] = high[k] = _mm512_setzero_si512();
    }
    for (i = 0; i + 2 <= count; i += 2) {
        const int16_t *p = rows + (uint16_t)(terms[i].number - origin) * width;
        const int16_t *q = rows + (uint16_t)(terms[i + 1].number - origin) * width;
        const __m512i factors = pair(terms + i);
        for (k = 0; k < n; k++) {
            const __m512i a = load(p + 32 * k), b = load(q + 32 * k);

            low[k] = _mm512_dpwssd_epi32(low[k], factors, _mm512_unpacklo_epi16(a, b));
            high[k] = _mm512_dpwssd_epi32(high[k], factors, _mm512_unpackhi_epi16(a, b));
        }
    }
    if (i < count) {
        const int16_t *p = rows + (uint16_t)(terms[i].number - origin) * width;
        const __m512i factor = _mm512_set1_epi32(terms[i].feature), none = _mm512_setzero_si512();

        for (k = 0; k < n; k++) {
            const __m512i a = load(p + 32 * k);

            low[k] = _mm512_dpwssd_epi32(low[k], factor, _mm512_unpacklo_epi16(a, none));
            high[k] = _mm512_dpwssd_epi32(high[k], factor, _mm512_unpackhi_epi16(a, none));
        }
    }
    for (k = 0; k < n; k++) {
        const size_t j = 32 * k;

        store(sums + j, _mm512_add_epi32(load(start + j), _mm512_permutex2var_epi32(low[k], first, high[k])));
        store(sums + j + 16,
              _mm512_add_epi32(load(start + j + 16), _mm512_permutex2var_epi32(low[k], second, high[k])));
    }
}

static AVX512 void add_rows(int32_t *sums, const int32_t *start, size_t width, const int16_t *rows,
                            const struct context_term *terms, size_t count, unsigned origin)
{
    size_t j = 0;

    for (; j + 128 <= width; j += 128) {
        add_columns(sums + j, start + j, width, rows + j, terms, count, origin, 4);
    }
    if (width - j == 96) { /* widths are multiples of CONTEXT_BLOCK */
        add_columns(sums + j, start + j, width, rows + j, terms, count, origin, 3);
    } else if (width - j == 64) {
        add_columns(sums + j, start + j, width, rows + j, terms, count, origin, 2);
    } else if (width - j == 32) {
        add_columns(sums + j, start + j, width, rows + j, terms, count, origin, 1);
    }
}

/* 16 n outputs stay in registers while all inputs pass, eight by eight. */
INLINED void multiply_columns(__m512i *sums, size_t outputs, const int16_t *activations, size_t inputs,
                              const int16_t *weights, const int32_t *bias, const size_t n)
{
    __m512i s[4][6]; /* four chains of sums, because a sum waits for the one before */
    size_t j, k;

    for (j = 0; j < n; j++) {
        s[0][j] = load(bias + 16 * j);
        s[1][j] = s[2][j] = s[3][j] = _mm512_setzero_si512();
    }
    for (k = 0; k < inputs; k += 8) {
        const __m512i eight = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(activations + k)));
        const __m512i a = _mm512_shuffle_epi32(eight, 0x00), b = _mm512_shuffle_epi32(eight, 0x55);
        const __m512i c = _mm512_shuffle_epi32(eight, 0xaa), d = _mm512_shuffle_epi32(eight, 0xff);
        const int16_t *w = weights + k * outputs;

        for (j = 0; j < n; j++) {
            s[0][j] = _mm512_dpwssd_epi32(s[0][j], a, load(w + 32 * j));
            s[1][j] = _mm512_dpwssd_epi32(s[1][j], b, load(w + 2 * outputs + 32 * j));
            s[2][j] = _mm512_dpwssd_epi32(s[2][j], c, load(w + 4 * outputs + 32 * j));
            s[3][j] = _mm512_dpwssd_epi32(s[3][j], d, load(w + 6 * outputs + 32 * j));
        }
    }
    for (j = 0; j < n; j++) {
        sums[j] = _mm512_add_epi32(_mm512_add_epi32(s[0][j], s[1][j]), _mm512_add_epi32(s[2][j], s[3][j]));
    }
}

static AVX512 void multiply(int32_t *sums, size_t outputs, const int16_t *activations, size_t inputs,
                            const int16_t *weights, const int32_t *bias)
{
    __m512i s[6];
    size_t j = 0, i;

    for (; j + 96 <= outputs; j += 96) {
        multiply_columns(s, outputs, activations, inputs, weights + 2 * j, bias + j, 6);
        for (i = 0; i < 6; i++) {
            store(sums + j + 16 * i, s[i]);
        }
    }
    for (; j < outputs; j += CONTEXT_BLOCK) {
        multiply_columns(s, outputs, activations, inputs, weights + 2 * j, bias + j, 2);
        for (i = 0; i < 2; i++) {
            store(sums + j + 16 * i, s[i]);
        }
    }
}

static AVX512 void activate(int16_t *activations, const int32_t *sums, size_t width, unsigned shift)
{
    const __m512i zero = _mm512_setzero_si512(), most = _mm512_set1_epi32(CONTEXT_ACTIVATION);
    const __m128i count = _mm_cvtsi32_si128((int)shift);
    size_t j;

    for (j = 0; j < width; j += 16) {
        const __m512i a = _mm512_srl_epi32(_mm512_max_epi32(load(sums + j), zero), count);

        _mm256_storeu_si256((void *)(activations + j), _mm512_cvtepi32_epi16(_mm512_min_epi32(a, most)));
    }
}

/* The entries of the cumulative table for eight sums of an edge's product with the inverse and the centre. */
INLINED __m256i entries(__m512i sums)
{
    const __m512i at = _mm512_srli_epi64(_mm512_max_epi64(sums, _mm512_setzero_si512()), CONTEXT_INVERSE_BITS);

    return _mm512_cvtepi64_epi32(_mm512_min_epi64(at, _mm512_set1_epi64(CONTEXT_TABLE - 1)));
}

static AVX512 void add_linear(int32_t *sums, size_t places, const int32_t *linear, const int16_t *values,
                              size_t neighbours)
{
    size_t n, j;

    for (j = 0; j < places; j += 16) {
        const __mmask16 there = places - j < 16 ? 0xff : 0xffff;
        __m512i s = _mm512_maskz_loadu_epi32(there, sums + j);

        for (n = 0; n < neighbours; n++) {
            const __m512i l = _mm512_maskz_loadu_epi32(there, linear + n * places + j);
            const __m512i v = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(there, values + n * places + j));

            s = _mm512_add_epi32(s, _mm512_mullo_epi32(l, v));
        }
        _mm512_mask_storeu_epi32(sums + j, there, s);
    }
}

static AVX512 void predict(struct context_group *group, const struct context_model *m, size_t g,
                           const int16_t *activations, const int32_t *linear)
{
    const __m256i shift = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(m->mean_shift + g * CONTEXT_GROUP)));
    __m256i mean, scale, inverse;
    __m512i outputs, wide, edge, sums;

    multiply_columns(&outputs, CONTEXT_OUTPUTS, activations, m->hidden, m->out + g * m->hidden * CONTEXT_OUTPUTS,
                     m->out_bias + g * CONTEXT_OUTPUTS, 1);
    mean = _mm256_add_epi32(_mm512_castsi512_si256(outputs), load256(linear));
    scale = _mm512_extracti64x4_epi64(outputs, 1);
    mean = _mm256_min_epi32(_mm256_srav_epi32(mean, shift), _mm256_set1_epi32(CONTEXT_MEAN_LIMIT));
    mean = _mm256_max_epi32(mean, _mm256_set1_epi32(-CONTEXT_MEAN_LIMIT));
    scale = _mm256_sra_epi32(scale, _mm_cvtsi32_si128((int)m->scale_shift));
    scale = _mm256_min_epi32(_mm256_max_epi32(scale, _mm256_setzero_si256()), _mm256_set1_epi32(CONTEXT_SCALES - 1));
    inverse = _mm256_i32gather_epi32((const void *)m->inverse, scale, 4);
    wide = _mm512_cvtepu32_epi64(inverse);
    edge = _mm512_cvtepi32_epi64(_mm256_sub_epi32(_mm256_set1_epi32(-(1 << (CONTEXT_MEAN_BITS - 1))), mean));
    sums = _mm512_add_epi64(_mm512_mul_epi32(edge, wide),
                            _mm512_set1_epi64((int64_t)CONTEXT_CENTRE << CONTEXT_INVERSE_BITS));
    store256(group->mean, mean);
    store256(group->inverse, inverse);
    store256(group->low, entries(sums));
    store256(group->high, entries(_mm512_add_epi64(sums, _mm512_slli_epi64(wide, CONTEXT_MEAN_BITS))));
}

static const struct context_kernels avx512 = {add_rows, multiply, activate, add_linear, predict};

const struct context_kernels *edgecomp_context_kernels_avx512(void)
{
#ifdef _MSC_VER
    return x86_has_avx512_vnni() ? &avx512 : NULL;
#else
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni")
               ? &avx512
               : NULL;
#endif
}

#else

const struct context_kernels *edgecomp_context_kernels_avx512(void)
{
    return NULL;
}

#endif
