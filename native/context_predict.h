/*
 * context_predict.h: what is expected of the next symbols, from those that are known. Encoder and decoder walk the
 * volume alike: row by row, position by position, at each position group by group of eight channels in coding order.
 *
 *     per position context_position, then per group context_group, context_tell for each symbol, context_group_end
 */
#ifndef EDGECOMP_CONTEXT_PREDICT_H
#define EDGECOMP_CONTEXT_PREDICT_H

#include "context_internal.h"
#include "range_coder.h"

/* The distribution of one symbol: a mean with CONTEXT_MEAN_BITS fractional bits, relative to the zero symbol, and the
 * inverse of its scale with CONTEXT_INVERSE_BITS. */
struct context_distribution {
    int32_t mean;
    uint32_t inverse;
};

/* The walk's memory, all of it in the caller's workspace. */
struct context_walk {
    const struct context_model *model;
    const struct context_kernels *kernels;
    size_t columns;                /* of the volume */
    size_t ring;                   /* rows that are remembered */
    size_t y, x;
    struct context_entry *entries; /* [ring][columns][channels] */
    uint16_t *entry_counts;        /* [ring][columns] */
    int32_t *sums0, *sums1;        /* [width], [hidden] */
    int32_t *outputs;              /* [16] */
    int32_t *linear;               /* [groups * 8] what neighbours add to the means, by place */
    int16_t *active0, *active1;    /* [width], [hidden] */
    uint8_t *symbols;              /* [columns][channels] of the row, by place; the caller's */
    struct context_entry *here;    /* entries of this position */
    size_t here_count, group_start;
    struct context_distribution group[CONTEXT_GROUP];
};

/* Bytes of workspace for a volume so wide; any alignment. Returns 0 where that is no size_t. */
size_t edgecomp_context_walk_size(const struct context_model *m, size_t columns);
void edgecomp_context_walk_start(struct context_walk *w, const struct context_model *m,
                                 const struct context_kernels *kernels, size_t columns, uint8_t *workspace);
void edgecomp_context_position(struct context_walk *w, size_t y, size_t x);
void edgecomp_context_group(struct context_walk *w, size_t group);
void edgecomp_context_group_end(struct context_walk *w);

/* Tells a symbol that was coded, as symbol - zero. */
static inline void context_tell(struct context_walk *w, size_t place, int value)
{
    if (value != 0) {
        const unsigned magnitude = (unsigned)(value < 0 ? -value : value);
        struct context_entry *e = w->here + w->here_count++;

        e->row = (uint16_t)(2 * place + (value < 0));
        e->feature = w->model->feature[place * 256 + magnitude];
        e->value = (int16_t)value;
        e->place = (uint16_t)place;
    }
}

/*
 * The sum of the frequencies of all symbols below `symbol`, 0 .. levels: the cumulative logistic function at the lower
 * edge of the symbol, by table, and one for each symbol below, so that no symbol is impossible. Strictly increasing.
 *
 * |edge| <= 256 * 64 + 32767 < 2^16 and inverse <= 2^24: the product stays below 2^41.
 */
static inline uint32_t context_cumulative(const struct context_model *m, struct context_distribution d, unsigned symbol)
{
    const int32_t edge = (2 * ((int32_t)symbol - (int32_t)m->zero) - 1) * (1 << (CONTEXT_MEAN_BITS - 1)) - d.mean;
    int64_t at = (int64_t)edge * d.inverse + ((int64_t)CONTEXT_CENTRE << CONTEXT_INVERSE_BITS);

    if (at < 0) {
        at = 0;
    }
    at >>= CONTEXT_INVERSE_BITS;
    if (at > (int64_t)CONTEXT_TABLE - 1) {
        at = (int64_t)CONTEXT_TABLE - 1;
    }
    if (symbol == 0) {
        return 0;
    }
    return symbol < m->levels ? m->table[at] + symbol : PROBABILITY_ONE;
}

#endif
