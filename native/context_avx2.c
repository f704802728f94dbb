/* context_avx2.c: the kernels with AVX2, for compilers that can build them beside code for older processors. */
#include "context_internal.h"

#ifdef CONTEXT_X86

#include <immintrin.h>
#ifdef _MSC_VER
#include "x86_features.h"
#endif

#define AVX2 CONTEXT_TARGET("avx2")
#define INLINED CONTEXT_INLINED AVX2

INLINED __m256i load(const void *p)
{
    return _mm256_loadu_si256(p);
}

INLINED void store(void *p, __m256i v)
{
    _mm256_storeu_si256(p, v);
}

INLINED __m256i dot(__m256i sums, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
}

/* The features of two terms as every pair of 16-bit factors of a vector. Not loaded at once: terms may have been
 * written one by one just before, and then a load of both waits until they are in the cache. */
INLINED __m256i pair(const struct context_term *terms)
{
    return _mm256_set1_epi32((int32_t)((uint32_t)terms[1].feature << 16 | (uint16_t)terms[0].feature));
}

/*
 * The outputs 0 to 16 n - 1 stay in registers while all terms pass, two by two: their rows are interleaved, so that
 * one multiply-add makes feature_0 * row_0[j] + feature_1 * row_1[j]. Unpacking works within halves of 128 bits, which
 * leaves outputs 0-3, 8-11 in one register and 4-7, 12-15 in the other until the end. n is a constant where this is
 * inlined, at most 4: more do not fit into sixteen registers.
 */
INLINED void add_columns(int32_t *sums, const int32_t *start, size_t width, const int16_t *rows,
                         const struct context_term *terms, size_t count, unsigned origin, const size_t n)
{
    __m256i low[4], high[4];
    size_t i, k;

    for (k = 0; k < n; k++) {
        low[k] = high[k] = _mm256_setzero_si256();
    }
    for (i = 0; i + 2 <= count; i += 2) {
        const int16_t *p = rows + (uint16_t)(terms[i].number - origin) * width;
        const int16_t *q = rows + (uint16_t)(terms[i + 1].number - origin) * width;
        const __m256i factors = pair(terms + i);
        for (k = 0; k < n; k++) {
            const __m256i a = load(p + 16 * k), b = load(q + 16 * k);

            low[k] = dot(low[k], factors, _mm256_unpacklo_epi16(a, b));
            high[k] = dot(high[k], factors, _mm256_unpackhi_epi16(a, b));
        }
    }
    if (i < count) {
        const int16_t *p = rows + (uint16_t)(terms[i].number - origin) * width;
        const __m256i factor = _mm256_set1_epi32(terms[i].feature), none = _mm256_setzero_si256();

        for (k = 0; k < n; k++) {
            const __m256i a = load(p + 16 * k);

            low[k] = dot(low[k], factor, _mm256_unpacklo_epi16(a, none));
            high[k] = dot(high[k], factor, _mm256_unpackhi_epi16(a, none));
        }
    }
    for (k = 0; k < n; k++) {
        const size_t j = 16 * k;

        store(sums + j, _mm256_add_epi32(load(start + j), _mm256_permute2x128_si256(low[k], high[k], 0x20)));
        store(sums + j + 8, _mm256_add_epi32(load(start + j + 8), _mm256_permute2x128_si256(low[k], high[k], 0x31)));
    }
}

static AVX2 void add_rows(int32_t *sums, const int32_t *start, size_t width, const int16_t *rows,
                          const struct context_term *terms, size_t count, unsigned origin)
{
    size_t j = 0;

    for (; j + 96 <= width; j += 96) {
        add_columns(sums + j, start + j, width, rows + j, terms, count, origin, 3);
        add_columns(sums + j + 48, start + j + 48, width, rows + j + 48, terms, count, origin, 3);
    }
    if (width - j == 64) { /* widths are multiples of CONTEXT_BLOCK */
        add_columns(sums + j, start + j, width, rows + j, terms, count, origin, 4);
    } else if (width - j == 32) {
        add_columns(sums + j, start + j, width, rows + j, terms, count, origin, 2);
    }
}

/* 8 n outputs stay in registers, s, while all inputs pass, eight by eight: a pair of them is one number of 32 bits. */
INLINED void multiply_columns(__m256i *s, size_t outputs, const int16_t *activations, size_t inputs,
                              const int16_t *weights, const int32_t *bias, const size_t n)
{
    size_t j, k;

    for (j = 0; j < n; j++) {
        s[j] = load(bias + 8 * j);
    }
    for (k = 0; k < inputs; k += 8) {
        const __m256i eight = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(activations + k)));
        const int16_t *w = weights + k * outputs;
        __m256i a = _mm256_shuffle_epi32(eight, 0x00);

        for (j = 0; j < n; j++) {
            s[j] = dot(s[j], a, load(w + 16 * j));
        }
        a = _mm256_shuffle_epi32(eight, 0x55);
        for (j = 0; j < n; j++) {
            s[j] = dot(s[j], a, load(w + 2 * outputs + 16 * j));
        }
        a = _mm256_shuffle_epi32(eight, 0xaa);
        for (j = 0; j < n; j++) {
            s[j] = dot(s[j], a, load(w + 4 * outputs + 16 * j));
        }
        a = _mm256_shuffle_epi32(eight, 0xff);
        for (j = 0; j < n; j++) {
            s[j] = dot(s[j], a, load(w + 6 * outputs + 16 * j));
        }
    }
}

static AVX2 void multiply(int32_t *sums, size_t outputs, const int16_t *activations, size_t inputs,
                          const int16_t *weights, const int32_t *bias)
{
    __m256i s[12];
    size_t j = 0, i;

    for (; j + 96 <= outputs; j += 96) {
        multiply_columns(s, outputs, activations, inputs, weights + 2 * j, bias + j, 12);
        for (i = 0; i < 12; i++) {
            store(sums + j + 8 * i, s[i]);
        }
    }
    for (; j < outputs; j += CONTEXT_BLOCK) {
        multiply_columns(s, outputs, activations, inputs, weights + 2 * j, bias + j, 4);
        for (i = 0; i < 4; i++) {
            store(sums + j + 8 * i, s[i]);
        }
    }
}

static AVX2 void activate(int16_t *activations, const int32_t *sums, size_t width, unsigned shift)
{
    const __m256i zero = _mm256_setzero_si256(), most = _mm256_set1_epi32(CONTEXT_ACTIVATION);
    const __m128i count = _mm_cvtsi32_si128((int)shift);
    size_t j;

    for (j = 0; j < width; j += 16) {
        __m256i a = _mm256_max_epi32(load(sums + j), zero), b = _mm256_max_epi32(load(sums + j + 8), zero);

        a = _mm256_min_epi32(_mm256_srl_epi32(a, count), most);
        b = _mm256_min_epi32(_mm256_srl_epi32(b, count), most);
        store(activations + j, _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8));
    }
}

/* The entries of the cumulative table for sums of an edge's product with the inverse and the centre; four in each. */
INLINED __m256i entries(__m256i first, __m256i last)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i both;

    first = _mm256_srli_epi64(_mm256_andnot_si256(_mm256_cmpgt_epi64(zero, first), first), CONTEXT_INVERSE_BITS);
    last = _mm256_srli_epi64(_mm256_andnot_si256(_mm256_cmpgt_epi64(zero, last), last), CONTEXT_INVERSE_BITS);
    both = _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(first), _mm256_castsi256_ps(last), 0x88));
    return _mm256_min_epi32(_mm256_permute4x64_epi64(both, 0xd8), _mm256_set1_epi32((int)CONTEXT_TABLE - 1));
}

static AVX2 void add_linear(int32_t *sums, size_t places, const int32_t *linear, const int16_t *values,
                            size_t neighbours)
{
    size_t n, j;

    for (j = 0; j < places; j += 8) {
        __m256i s = load(sums + j);

        for (n = 0; n < neighbours; n++) {
            const __m256i v = _mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)(values + n * places + j)));

            s = _mm256_add_epi32(s, _mm256_mullo_epi32(load(linear + n * places + j), v));
        }
        store(sums + j, s);
    }
}

static AVX2 void predict(struct context_group *group, const struct context_model *m, size_t g,
                         const int16_t *activations, const int32_t *linear)
{
    const __m256i shift = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(m->mean_shift + g * CONTEXT_GROUP)));
    const __m256i centre = _mm256_set1_epi64x((int64_t)CONTEXT_CENTRE << CONTEXT_INVERSE_BITS);
    const uint32_t *table = m->inverse;
    __m256i outputs[2], mean, scale, inverse, edge, wide[2], sums[2];
    int32_t at[CONTEXT_GROUP];
    size_t i;

    multiply_columns(outputs, CONTEXT_OUTPUTS, activations, m->hidden, m->out + g * m->hidden * CONTEXT_OUTPUTS,
                     m->out_bias + g * CONTEXT_OUTPUTS, 2);
    mean = _mm256_add_epi32(outputs[0], load(linear));
    scale = outputs[1];
    mean = _mm256_min_epi32(_mm256_srav_epi32(mean, shift), _mm256_set1_epi32(CONTEXT_MEAN_LIMIT));
    mean = _mm256_max_epi32(mean, _mm256_set1_epi32(-CONTEXT_MEAN_LIMIT));
    scale = _mm256_sra_epi32(scale, _mm_cvtsi32_si128((int)m->scale_shift));
    scale = _mm256_min_epi32(_mm256_max_epi32(scale, _mm256_setzero_si256()), _mm256_set1_epi32(CONTEXT_SCALES - 1));
    store(at, scale);
    inverse = _mm256_setr_epi32((int)table[at[0]], (int)table[at[1]], (int)table[at[2]], (int)table[at[3]],
                                (int)table[at[4]], (int)table[at[5]], (int)table[at[6]], (int)table[at[7]]);
    edge = _mm256_sub_epi32(_mm256_set1_epi32(-(1 << (CONTEXT_MEAN_BITS - 1))), mean);
    wide[0] = _mm256_cvtepu32_epi64(_mm256_castsi256_si128(inverse));
    wide[1] = _mm256_cvtepu32_epi64(_mm256_extracti128_si256(inverse, 1));
    sums[0] = _mm256_mul_epi32(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(edge)), wide[0]);
    sums[1] = _mm256_mul_epi32(_mm256_cvtepi32_epi64(_mm256_extracti128_si256(edge, 1)), wide[1]);
    store(group->mean, mean);
    store(group->inverse, inverse);
    for (i = 0; i < 2; i++) {
        sums[i] = _mm256_add_epi64(sums[i], centre);
    }
    store(group->low, entries(sums[0], sums[1]));
    for (i = 0; i < 2; i++) {
        sums[i] = _mm256_add_epi64(sums[i], _mm256_slli_epi64(wide[i], CONTEXT_MEAN_BITS));
    }
    store(group->high, entries(sums[0], sums[1]));
}

static const struct context_kernels avx2 = {add_rows, multiply, activate, add_linear, predict};

const struct context_kernels *edgecomp_context_kernels_avx2(void)
{
#ifdef _MSC_VER
    return x86_has_avx2() ? &avx2 : NULL;
#else
    return __builtin_cpu_supports("avx2") ? &avx2 : NULL;
#endif
}

#else

const struct context_kernels *edgecomp_context_kernels_avx2(void)
{
    return NULL;
}

#endif
