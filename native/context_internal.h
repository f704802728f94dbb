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
    unsigned channels, levels, zero, reach, taps, width, hidden, groups;
    unsigned shift0, shift1, scale_shift;
    const uint8_t *order;      /* [channels] coding order: place -> channel */
    const uint8_t *mean_shift; /* [groups * 8] by place */
    const int16_t *feature;    /* [channels][256] by place and magnitude */
    const int32_t *bias0;      /* [width] */
    const int16_t *rows;       /* [taps][channels][2][width], the last but one index is 1 for negative values */
    const int32_t *linear;     /* [taps][channels] */
    const int32_t *bias1;      /* [hidden] */
    const int16_t *dense;      /* [width / 2][hidden][2] */
    const int16_t *within;     /* [channels][2][hidden] */
    const int32_t *out_bias;   /* [groups][16]: 8 means, 8 scales */
    const int16_t *out;        /* [groups][hidden / 2][16][2] */
    const uint32_t *inverse;   /* [128] */
    const uint32_t *table;     /* [2049] */
};

/* One symbol that is not zero. */
struct context_entry {
    uint16_t row;    /* 2 * place + (1 if negative) */
    int16_t feature; /* of its magnitude */
    int16_t value;   /* symbol - zero */
    uint16_t place;  /* its channel's place in the coding order */
};

/* The arithmetic in one instruction set. All pointers but `entries` are at least 32-byte aligned; widths are multiples
 * of CONTEXT_BLOCK. */
struct context_kernels {
    /* sums[j] += feature_i * rows[row_i][j] over all entries i */
    void (*add_rows)(int32_t *sums, size_t width, const int16_t *rows, const struct context_entry *entries,
                     size_t count);
    /* sums[j] = bias[j] + sum over k of activations[k] * weights[k / 2][j][k % 2]; outputs: a multiple of 16 */
    void (*multiply)(int32_t *sums, size_t outputs, const int16_t *activations, size_t inputs, const int16_t *weights,
                     const int32_t *bias);
    /* activations[j] = min(max(sums[j], 0) >> shift, CONTEXT_ACTIVATION) */
    void (*activate)(int16_t *activations, const int32_t *sums, size_t width, unsigned shift);
};

/* The kernels of an enum edgecomp_kernels, or NULL where this build or this processor has none such. */
const struct context_kernels *edgecomp_context_kernels(int which);
const struct context_kernels *edgecomp_context_kernels_avx2(void);
const struct context_kernels *edgecomp_context_kernels_neon(void);

/* Opens what edgecomp_context_prepare wrote. Returns an enum edgecomp_status. */
int edgecomp_context_open(const uint8_t *prepared, size_t prepared_len, struct context_model *model);

#endif
