/*
 * context_internal.h: what the files of the context coder share: the prepared model, and the kernels that run it.
 *
 * docs/format-context.md specifies the model and its file; the names here are those of that page. All arithmetic is on
 * integers of 32 bits that are proved not to overflow when a model is prepared, so that every order of summation, and
 * with it every kernel, gives the same numbers.
 */
#ifndef EDGECOMP_CONTEXT_INTERNAL_H
#define EDGECOMP_CONTEXT_INTERNAL_H

#include "edgecomp_native.h"

#define CONTEXT_GROUP 8u          /* channels whose distributions are predicted at once */
#define CONTEXT_OUTPUTS 16u       /* of a group: a mean and a scale for each */
#define CONTEXT_BLOCK 32u         /* widths are multiples of it */
#define CONTEXT_MAX_CHANNELS 256u
#define CONTEXT_MAX_WIDTH 512u
#define CONTEXT_MAX_REACH 3u
#define CONTEXT_MAX_TAPS 24u      /* 2 reach (reach + 1) */
#define CONTEXT_SCALES 128u       /* widths of distributions */
#define CONTEXT_CENTRE 1024       /* the entry of the cumulative table that belongs to the mean */
#define CONTEXT_TABLE 2049u       /* entries of the cumulative table */
#define CONTEXT_MEAN_BITS 6u      /* fractional bits of a mean */
#define CONTEXT_INVERSE_BITS 16u  /* fractional bits of an inverse scale */
#define CONTEXT_ACTIVATION 8191   /* the largest activation */
#define CONTEXT_MEAN_LIMIT 32767  /* the largest magnitude of a mean, with its fractional bits */

/* The next multiple of EDGECOMP_CONTEXT_ALIGNMENT. */
static inline size_t context_aligned(size_t bytes)
{
    return (bytes + EDGECOMP_CONTEXT_ALIGNMENT - 1) / EDGECOMP_CONTEXT_ALIGNMENT * EDGECOMP_CONTEXT_ALIGNMENT;
}

/* A prepared model: pointers into the caller's buffer. Sizes in comments are in elements. */
struct context_model {
    unsigned channels, levels, zero, reach, span, taps, width, hidden, groups; /* span: 2 reach + 1 */
    unsigned shift0, shift1, scale_shift;
    const uint8_t *order;      /* [channels] coding order: place -> channel */
    const uint8_t *mean_shift; /* [groups * 8] by place */
    const int16_t *feature;    /* [channels][256] by place and magnitude */
    const int32_t *bias0;      /* [width] */
    const int16_t *rows;       /* [reach + 1][channels][2][span][width]: rows above, 1 for negative values, column */
    const int32_t *linear;     /* [taps][groups * 8] by place */
    const int32_t *bias1;      /* [hidden] */
    const int16_t *dense;      /* [width / 2][hidden][2] */
    const int16_t *within;     /* [channels][2][hidden] */
    const int32_t *out_bias;   /* [groups][16]: 8 means, 8 scales */
    const int16_t *out;        /* [groups][hidden / 2][16][2] */
    const uint32_t *inverse;   /* [128] */
    const uint32_t *table;     /* [2049] */
};

/* What is expected of the symbols of a group. */
struct context_group {
    int32_t mean[CONTEXT_GROUP];     /* relative to the zero symbol, with CONTEXT_MEAN_BITS fractional bits */
    uint32_t inverse[CONTEXT_GROUP]; /* of the scale, with CONTEXT_INVERSE_BITS fractional bits */
    uint32_t low[CONTEXT_GROUP];     /* entry of the cumulative table at the lower edge of the zero symbol */
    uint32_t high[CONTEXT_GROUP];    /* at its upper edge */
};

/* The entry of the cumulative table for an edge: a difference to the mean, with CONTEXT_MEAN_BITS fractional bits.
 * |edge| <= 256 * 64 + 32767 < 2^16 and inverse <= 2^24: the product stays below 2^41. */
static inline uint32_t context_entry(int32_t edge, uint32_t inverse)
{
    int64_t at = (int64_t)edge * inverse + ((int64_t)CONTEXT_CENTRE << CONTEXT_INVERSE_BITS);

    if (at < 0) {
        at = 0;
    }
    at >>= CONTEXT_INVERSE_BITS;
    return at < (int64_t)CONTEXT_TABLE ? (uint32_t)at : CONTEXT_TABLE - 1;
}

/* A row of weights, and the factor that it is added with. */
struct context_term {
    uint16_t number; /* of the row, from `origin` on, modulo 2^16 */
    int16_t feature;
};

/* The arithmetic in one instruction set. Widths are multiples of CONTEXT_BLOCK. */
struct context_kernels {
    /* sums[j] = start[j] + the sum over all terms i of feature_i * rows[number_i - origin][j]; start may be sums */
    void (*add_rows)(int32_t *sums, const int32_t *start, size_t width, const int16_t *rows,
                     const struct context_term *terms, size_t count, unsigned origin);
    /* sums[j] = bias[j] + sum over k of activations[k] * weights[k / 2][j][k % 2]; outputs: a multiple of 16 */
    void (*multiply)(int32_t *sums, size_t outputs, const int16_t *activations, size_t inputs, const int16_t *weights,
                     const int32_t *bias);
    /* activations[j] = min(max(sums[j], 0) >> shift, CONTEXT_ACTIVATION) */
    void (*activate)(int16_t *activations, const int32_t *sums, size_t width, unsigned shift);
    /* sums[j] += the sum over n of linear[n][j] * values[n][j]; places: a multiple of 8 */
    void (*add_linear)(int32_t *sums, size_t places, const int32_t *linear, const int16_t *values, size_t neighbours);
    /* Group g, from the activations of the second layer and the linear sums of its places. NULL: by multiply and in
     * plain C. */
    void (*predict)(struct context_group *group, const struct context_model *m, size_t g, const int16_t *activations,
                    const int32_t *linear);
};

/* Where there are kernels for x86, in files of code for older processors: compilers are told function by function what
 * they may use, and Microsoft's, which lets any function use anything, is not. (ARM64EC calls itself x64.) */
#if defined(__clang__) || defined(__GNUC__)
#ifdef __x86_64__
#define CONTEXT_X86
#endif
#define CONTEXT_TARGET(features) __attribute__((target(features)))
#define CONTEXT_INLINED static inline __attribute__((always_inline))
#elif defined(_MSC_VER) && defined(_M_X64) && !defined(_M_ARM64EC)
#define CONTEXT_X86
#define CONTEXT_TARGET(features)
#define CONTEXT_INLINED static __forceinline
#endif

/* The kernels of an enum edgecomp_kernels, or NULL where this build or this processor has none such. */
const struct context_kernels *edgecomp_context_kernels(int which);
const struct context_kernels *edgecomp_context_kernels_avx2(void);
const struct context_kernels *edgecomp_context_kernels_avx512(void);
const struct context_kernels *edgecomp_context_kernels_neon(void);

/* Opens what edgecomp_context_prepare wrote. Returns an enum edgecomp_status. */
int edgecomp_context_open(const uint8_t *prepared, size_t prepared_len, struct context_model *model);

#endif
